//! Named engines: the store of contexts that the docker client keeps beside its configuration.
//!
//! ```text
//! contexts/meta/SHA-256 OF THE NAME/meta.json              name, description, address
//! contexts/tls/SHA-256 OF THE NAME/docker/{ca,cert,key}.pem
//! ```

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wharf_docker_api::client::TlsFiles;

/// The context of no name: what flags and variables say, else the engine of this host.
pub(crate) const DEFAULT: &str = "default";

/// `meta.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NamedEngine {
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    pub(crate) endpoints: Endpoints,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Metadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// What other tools keep there.
    #[serde(flatten)]
    pub(crate) other: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoints {
    pub(crate) docker: Address,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    #[serde(rename = "Host")]
    pub(crate) host: String,
    #[serde(rename = "SkipTLSVerify")]
    pub(crate) skip_tls_verify: bool,
}

/// The files of TLS, by the names they have in the store.
pub(crate) const TLS_FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// What these files have in them, in the order of their names: authority, certificate and key.
pub(crate) type Tls = [Option<Vec<u8>>; 3];

/// The contexts below a configuration directory.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(crate) fn of(config_dir: &Path) -> Self {
        Self { directory: config_dir.join("contexts") }
    }

    pub(crate) fn meta(&self, name: &str) -> PathBuf {
        self.directory.join("meta").join(id(name))
    }

    /// Where the certificates of a context are.
    pub(crate) fn tls(&self, name: &str) -> PathBuf {
        self.directory.join("tls").join(id(name))
    }

    /// What is stored, by name, and what of it cannot be read.
    pub(crate) fn list(&self) -> Result<(Vec<NamedEngine>, Vec<Failure>), Failure> {
        let directory = self.directory.join("meta");
        let entries = match fs::read_dir(&directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Default::default()),
            other => other.map_err(|e| Failure::file("read", &directory, &e))?,
        };
        let (mut all, mut broken) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.map_err(|e| Failure::file("read", &directory, &e))?.path().join("meta.json");
            match read(&path) {
                Ok(found) => all.extend(found),
                Err(e) => broken.push(e),
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((all, broken))
    }

    pub(crate) fn find(&self, name: &str) -> Result<NamedEngine, Failure> {
        let found = read(&self.meta(name).join("meta.json"))?;
        found.ok_or_else(|| {
            Failure::new(format!("context {name:?} does not exist: make it with context create"))
        })
    }

    /// The files that a connection to a context's engine needs.
    pub(crate) fn tls_files(&self, engine: &NamedEngine) -> Option<TlsFiles> {
        let [authority, certificate, key] =
            TLS_FILES.map(|file| self.tls(&engine.name).join("docker").join(file));
        let identity = (certificate.exists() && key.exists()).then_some((certificate, key));
        if !authority.exists() && identity.is_none() {
            return None;
        }
        let verified = authority.exists() && !engine.endpoints.docker.skip_tls_verify;
        Some(TlsFiles { authority: verified.then_some(authority), identity })
    }

    /// What a context knows of TLS.
    pub(crate) fn tls_of(&self, name: &str) -> Result<Tls, Failure> {
        let mut all = Tls::default();
        for (file, content) in TLS_FILES.iter().zip(&mut all) {
            let path = self.tls(name).join("docker").join(file);
            *content = match fs::read(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                read => Some(read.map_err(|e| Failure::file("read", &path, &e))?),
            };
        }
        Ok(all)
    }

    /// Stores a context, with these certificates and no others.
    pub(crate) fn keep(&self, engine: &NamedEngine, tls: &Tls) -> Result<(), Failure> {
        remove_tree(&self.tls(&engine.name))?;
        let directory = self.tls(&engine.name).join("docker");
        for (file, content) in TLS_FILES.iter().zip(tls) {
            let Some(content) = content else { continue };
            private_directory(&directory)?;
            super::replace(&directory.join(file), content)?;
        }
        self.keep_meta(engine)
    }

    /// Stores what is said of a context. Its certificates stay as they are.
    pub(crate) fn keep_meta(&self, engine: &NamedEngine) -> Result<(), Failure> {
        let meta = self.meta(&engine.name);
        private_directory(&meta)?;
        super::replace(&meta.join("meta.json"), &encode(engine)?)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        remove_tree(&self.meta(name))?;
        remove_tree(&self.tls(name))
    }
}

/// `meta.json` of a context.
pub(crate) fn encode(engine: &NamedEngine) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(engine).map_err(|e| Failure::new(format!("encode the context: {e}")))
}

fn remove_tree(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Failure::file("remove", directory, &e)),
        _ => Ok(()),
    }
}

fn private_directory(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| Failure::file("create", path, &e))
}

fn read(path: &Path) -> Result<Option<NamedEngine>, Failure> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Failure::new(format!("{}: {e}: mend the file or remove it", path.display()))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::file("read", path, &e)),
    }
}

/// A text of a stored file as a terminal may have it: what would steer it is written out.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// Docker's name of a context's directory.
fn id(name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a context may be called so.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name.len() > 1 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b));
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    if begins && rest {
        return Ok(());
    }
    Err(Failure::new(format!(
        "context name {name:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_kept_as_docker_keeps_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::of(directory.path());
        assert!(store.list().unwrap().0.is_empty() && store.find("far").is_err());
        let docker = Address { host: "tcp://far:2376".into(), skip_tls_verify: false };
        let engine =
            NamedEngine { name: "far".into(), endpoints: Endpoints { docker }, ..Default::default() };
        store.keep(&engine, &[Some(b"x".to_vec()), None, None]).unwrap();
        assert_eq!(store.list().unwrap().0, std::slice::from_ref(&engine));
        // The SHA-256 of the name.
        let name = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868";
        assert!(directory.path().join("contexts/meta").join(name).join("meta.json").exists());
        assert!(store.tls_files(&engine).unwrap().authority.is_some());
        store.keep_meta(&engine).unwrap();
        assert_eq!(store.tls_of("far").unwrap(), [Some(b"x".to_vec()), None, None]);
        store.keep(&engine, &Tls::default()).unwrap();
        assert!(store.tls_files(&engine).is_none());
        store.remove("far").unwrap();
        assert!(store.list().unwrap().0.is_empty() && store.tls_files(&engine).is_none());
    }

    #[test]
    fn texts_steer_no_terminal() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}b\u{9b}\n"), "a\\u{1b}]0;x\\u{7}b\\u{9b}\\n");
        assert_eq!(harmless("tcp://höst:1"), "tcp://höst:1");
    }

    #[test]
    fn names() {
        assert!(check_name("my-far.host").is_ok());
        for bad in ["default", "", "a", "-x", "a b", "../x"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
