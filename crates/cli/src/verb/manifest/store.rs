//! Lists that are being made: a directory a list, a file a manifest.

use super::{OCI_MANIFEST, full};
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A manifest of a list.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) reference: String,
    /// `mediaType`, `digest`, `size`, `platform`.
    pub(super) descriptor: Map<String, Value>,
    pub(super) raw: Vec<u8>,
}

impl Entry {
    /// As it is kept, and shown by `inspect --verbose`.
    pub(super) fn shown(&self) -> Value {
        let manifest: Value = serde_json::from_slice(&self.raw).unwrap_or_default();
        let kind = if self.descriptor.get("mediaType").is_some_and(|t| t == OCI_MANIFEST) {
            "OCIManifest"
        } else {
            "SchemaV2Manifest"
        };
        json!({
            "Ref": self.reference,
            "Descriptor": self.descriptor,
            "Raw": STANDARD.encode(&self.raw),
            kind: manifest,
        })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            reference: value["Ref"].as_str()?.to_owned(),
            descriptor: value["Descriptor"].as_object()?.clone(),
            raw: STANDARD.decode(value["Raw"].as_str()?).ok()?,
        })
    }
}

/// Where the lists are.
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(config_dir: &Path) -> Self {
        Self(config_dir.join("manifests"))
    }

    fn dir(&self, list: &str) -> PathBuf {
        self.0.join(file_name(list))
    }

    pub(super) fn exists(&self, list: &str) -> bool {
        self.dir(list).is_dir()
    }

    /// The manifests of a list, by their names' order.
    pub(super) fn entries(&self, list: &str) -> Result<Vec<Entry>, Failure> {
        let dir = self.dir(list);
        let unreadable = |e: std::io::Error| Failure::file("read", &dir, &e);
        let files = match fs::read_dir(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(unreadable)?,
        };
        let mut paths =
            files.map(|f| f.map(|f| f.path())).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        paths.sort();
        let read = |path: &PathBuf| {
            let bytes = fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
            Entry::read(&bytes)
                .ok_or_else(|| Failure::new(format!("{}: not a manifest as it is kept", path.display())))
        };
        paths.iter().map(read).collect()
    }

    pub(super) fn keep(&self, list: &str, entry: &Entry) -> Result<(), Failure> {
        let dir = self.dir(list);
        fs::create_dir_all(&dir).map_err(|e| Failure::file("create", &dir, &e))?;
        let path = dir.join(file_name(&entry.reference));
        fs::write(&path, entry.shown().to_string()).map_err(|e| Failure::file("write", &path, &e))
    }

    /// Forgets a list; whether there was one.
    pub(super) fn forget(&self, list: &str) -> Result<bool, Failure> {
        let dir = self.dir(list);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true).map_err(|e| Failure::file("remove", &dir, &e)),
        }
    }
}

/// As the docker client names its files.
fn file_name(reference: &str) -> String {
    full(reference).replace(':', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let entry = Entry {
            reference: "docker.io/library/app:amd64".into(),
            descriptor: Map::from_iter([("digest".to_owned(), "sha256:x".into())]),
            raw: b"{}".to_vec(),
        };
        store.keep("app", &entry).unwrap();
        let file = "manifests/docker.io_library_app-latest/docker.io_library_app-amd64";
        assert!(dir.path().join(file).is_file());
        let found = store.entries("app:latest").unwrap();
        assert_eq!((&found[0].reference, &found[0].raw), (&entry.reference, &entry.raw));
        assert!(store.forget("app").unwrap() && !store.forget("app").unwrap() && !store.exists("app"));
    }
}
