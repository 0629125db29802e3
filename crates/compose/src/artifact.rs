//! A Compose application as an OCI artifact: one manifest, whose layers are the files. The form is Docker's, so that either tool reads
//! what the other published.

use crate::error::Error;
use crate::plan::VERSION;
use crate::project::hash::hex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Component, Path};

/// What the whole is.
pub const TYPE: &str = "application/vnd.docker.compose.project";
/// A Compose file.
const FILE: &str = "application/vnd.docker.compose.file+yaml";
/// A file of variables.
const ENV_FILE: &str = "application/vnd.docker.compose.envfile";
/// The configuration in the way of OCI 1.0, where it says what the whole is.
const CONFIG_1_0: &str = "application/vnd.docker.compose.config.empty.v1+json";
/// The configuration in the way of OCI 1.1.
const CONFIG_1_1: &str = "application/vnd.oci.empty.v1+json";
/// The media type of the manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The configuration, which says nothing.
pub const EMPTY: &[u8] = b"{}";
/// Layers of one application; nobody writes more files.
const MAX_LAYERS: usize = 1000;
/// Bytes of one file, which is what engines send of a registry at once.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

const NAME: &str = "com.docker.compose.file";
const ENV_NAME: &str = "com.docker.compose.envfile";
const EXTENDS: &str = "com.docker.compose.extends";

/// Which version of OCI's specification a manifest is written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oci {
    /// 1.0, for registries that refuse `artifactType`.
    V1_0,
    /// 1.1.
    V1_1,
}

/// What a file of an application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of the project's files; all of them are one file again afterwards.
    Compose,
    /// One that a service extends.
    Extended,
    /// Variables.
    Env,
}

/// A file of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it is.
    pub kind: Kind,
    /// What it is called, without a directory.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The manifest over files, which was made at a time (RFC 3339).
pub fn manifest(files: &[File], oci: Oci, created: &str) -> Vec<u8> {
    let layer = |file: &File| {
        let (media_type, key) = match file.kind {
            Kind::Env => (ENV_FILE, ENV_NAME),
            Kind::Compose | Kind::Extended => (FILE, NAME),
        };
        let mut annotations = json!({"com.docker.compose.version": VERSION});
        annotations[key] = file.name.as_str().into();
        if file.kind == Kind::Extended {
            annotations[EXTENDS] = "true".into();
        }
        json!({
            "mediaType": media_type,
            "digest": digest(&file.content),
            "size": file.content.len(),
            "annotations": annotations,
        })
    };
    let config = if oci == Oci::V1_0 { CONFIG_1_0 } else { CONFIG_1_1 };
    let mut whole = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": config, "digest": digest(EMPTY), "size": EMPTY.len()},
        "layers": files.iter().map(layer).collect::<Vec<Value>>(),
        "annotations": {"org.opencontainers.image.created": created},
    });
    if oci == Oci::V1_1 {
        whole["artifactType"] = TYPE.into();
    }
    whole.to_string().into_bytes()
}

/// A file as a manifest tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What it is.
    pub kind: Kind,
    /// What it is called, without a directory.
    pub name: String,
    /// The digest of its bytes.
    pub digest: String,
    /// How many they are.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    config: Described,
    #[serde(default)]
    layers: Vec<Described>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Described {
    media_type: String,
    digest: String,
    size: u64,
    annotations: BTreeMap<String, String>,
}

/// The files of an application, as its manifest tells of them. `name` is the application's, for errors.
pub fn layers(name: &str, manifest: &[u8]) -> Result<Vec<Layer>, Error> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| Error::project(format!("{name}: read its manifest: {error}")))?;
    let is_ours = match manifest.artifact_type.as_str() {
        "" => manifest.config.media_type == CONFIG_1_0,
        said => said == TYPE,
    };
    if !is_ours {
        let said = if manifest.artifact_type.is_empty() {
            manifest.config.media_type
        } else {
            manifest.artifact_type
        };
        return Err(Error::project(format!("{name} is not a compose project OCI artifact, but {said}")));
    }
    if manifest.layers.len() > MAX_LAYERS {
        return Err(Error::project(format!("{name} has more than {MAX_LAYERS} files")));
    }
    let mut layers = Vec::new();
    for layer in manifest.layers {
        let (kind, key) = match layer.media_type.as_str() {
            FILE if layer.annotations.contains_key(EXTENDS) => (Kind::Extended, NAME),
            FILE => (Kind::Compose, NAME),
            ENV_FILE => (Kind::Env, ENV_NAME),
            // What a later version of the tool adds is not for us.
            _ => continue,
        };
        let own = layer.annotations.get(key).cloned().unwrap_or_default();
        if layer.size > MAX_FILE_BYTES {
            return Err(Error::project(format!("{name}: {own:?} is larger than {MAX_FILE_BYTES} bytes")));
        }
        layers.push(Layer { kind, name: own, digest: layer.digest, size: layer.size });
    }
    Ok(layers)
}

/// Writes an application's files into a directory that is new. The project's own files become one, of several documents.
pub fn write(dir: &Path, files: &[File]) -> Result<(), Error> {
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    let mut whole = Vec::new();
    for file in files {
        if file.kind == Kind::Compose {
            if !whole.is_empty() {
                whole.extend(b"\n---\n");
            }
            whole.extend(&file.content);
            continue;
        }
        // A stranger's name is the name of a file here, and no way to another place.
        let mut parts = Path::new(&file.name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
            || file.name == "compose.yaml"
        {
            return Err(Error::project(format!("an artifact's file may not be called {:?}", file.name)));
        }
        put(&dir.join(&file.name), &file.content).map_err(failed)?;
    }
    put(&dir.join("compose.yaml"), &whole).map_err(failed)
}

fn put(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // Only ours to read: it may have variables.
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: Kind, name: &str, content: &str) -> File {
        File { kind, name: name.into(), content: content.into() }
    }

    #[test]
    fn what_is_written_is_read() {
        let files = [
            file(Kind::Compose, "compose.yaml", "a: 1"),
            file(Kind::Compose, "over.yaml", "b: 2"),
            file(Kind::Extended, "12.yaml", "c: 3"),
            file(Kind::Env, "34.env", "D=4"),
        ];
        for oci in [Oci::V1_0, Oci::V1_1] {
            let read = layers("x", &manifest(&files, oci, "now")).unwrap();
            let kinds: Vec<(Kind, &str)> =
                read.iter().map(|layer| (layer.kind, layer.name.as_str())).collect();
            assert_eq!(kinds, files.iter().map(|file| (file.kind, file.name.as_str())).collect::<Vec<_>>());
            assert_eq!(read[3].digest, digest(b"D=4"));
        }
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &files).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("compose.yaml")).unwrap(), "a: 1\n---\nb: 2");
        assert_eq!(std::fs::read_to_string(dir.path().join("34.env")).unwrap(), "D=4");
    }

    #[test]
    fn strangers_are_refused() {
        let image = br#"{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": []}"#;
        assert!(
            layers("r/i:1", image)
                .unwrap_err()
                .to_string()
                .contains("not a compose project OCI artifact, but app")
        );
        for name in ["../x", "/etc/x", "a/b", "..", "", "compose.yaml"] {
            let dir = tempfile::tempdir().unwrap();
            assert!(write(dir.path(), &[file(Kind::Env, name, "")]).is_err(), "{name}");
        }
    }
}
