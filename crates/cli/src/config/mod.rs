//! The user's configuration, `~/.docker/config.json`, and the credentials in it or beside it.

pub(crate) mod contexts;
mod helper;
mod proxies;

use crate::context::note;
use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wharf_docker_api::types::system::AuthConfig;

const FILE: &str = "config.json";

/// The configuration file; what we do not know in it is kept.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl ConfigFile {
    /// Reads the file of a directory; a missing one is empty.
    pub(crate) fn load(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(FILE);
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Failure::new(format!("{}: {e}: mend the file or move it away", path.display()))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        Ok(Self { path, content })
    }

    /// A text setting, such as `psFormat` or `detachKeys`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.content.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The credentials for a registry; empty ones when there are none.
    pub(crate) fn credentials(&self, server: &str) -> Result<AuthConfig, Failure> {
        if let Some(helper) = self.helper(server) {
            return helper::get(helper, server);
        }
        let Some(auths) = self.content.get("auths").and_then(Value::as_object) else {
            return Ok(AuthConfig::default());
        };
        let found = auths.get(server).or_else(|| {
            auths.iter().find(|(key, _)| host_of(key) == host_of(server)).map(|(_, value)| value)
        });
        let Some(found) = found else { return Ok(AuthConfig::default()) };
        let mut auth: AuthConfig = serde_json::from_value(found.clone())
            .map_err(|e| Failure::new(format!("{}: credentials for {server}: {e}", self.path.display())))?;
        if !auth.auth.is_empty() {
            let invalid = || Failure::new(format!("{}: invalid auth for {server}", self.path.display()));
            let decoded = STANDARD.decode(&auth.auth).map_err(|_| invalid())?;
            let decoded = String::from_utf8(decoded).map_err(|_| invalid())?;
            let (user, password) = decoded.split_once(':').ok_or_else(invalid)?;
            auth.username = user.to_owned();
            auth.password = password.trim_end_matches('\0').to_owned();
            auth.auth = String::new();
        }
        auth.server_address = server.to_owned();
        Ok(auth)
    }

    /// Keeps credentials; tells whether they are in the file itself, not in a helper.
    pub(crate) fn keep(&mut self, auth: &AuthConfig) -> Result<bool, Failure> {
        let server = auth.server_address.as_str();
        let mut entry = Map::new();
        let helper = self.helper(server).map(str::to_owned);
        match &helper {
            Some(helper) => helper::store(helper, auth)?,
            None if auth.identity_token.is_empty() => {
                let pair = STANDARD.encode(format!("{}:{}", auth.username, auth.password));
                entry.insert("auth".into(), pair.into());
            }
            None => {
                entry.insert("auth".into(), STANDARD.encode(format!("{}:", auth.username)).into());
                entry.insert("identitytoken".into(), auth.identity_token.as_str().into());
            }
        }
        self.auths()?.insert(server.to_owned(), entry.into());
        self.save()?;
        Ok(helper.is_none())
    }

    /// Forgets credentials.
    pub(crate) fn forget(&mut self, server: &str) -> Result<(), Failure> {
        if let Some(helper) = self.helper(server) {
            helper::erase(helper, server)?;
        }
        self.auths()?.retain(|key, _| key != server && host_of(key) != host_of(server));
        self.save()
    }

    fn helper(&self, server: &str) -> Option<&str> {
        let helpers = self.content.get("credHelpers").and_then(Value::as_object);
        let own = helpers.and_then(|all| all.get(server).or_else(|| all.get(host_of(server))));
        own.and_then(Value::as_str).or_else(|| self.text("credsStore"))
    }

    fn auths(&mut self) -> Result<&mut Map<String, Value>, Failure> {
        let path = self.path.display().to_string();
        self.content
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .ok_or_else(|| Failure::new(format!("{path}: \"auths\" is not an object")))
    }

    /// Sets or, with `None`, forgets a text setting.
    pub(crate) fn set_text(&mut self, key: &str, value: Option<&str>) -> Result<(), Failure> {
        match value {
            Some(value) => self.content.insert(key.to_owned(), value.into()),
            None => self.content.remove(key),
        };
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&self.content)
            .map_err(|e| Failure::new(format!("write {}: {e}", self.path.display())))?
            .replace("  ", "\t");
        replace(&self.path, text.as_bytes())
    }
}

/// Writes a file so that a crash leaves the old one or the new one, readable by its owner only.
fn replace(path: &Path, content: &[u8]) -> Result<(), Failure> {
    // A file that is a link stays one: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(|e| Failure::file("create", dir, &e))?;
    let part = target.with_added_extension(std::process::id().to_string());
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, &target)
    };
    write().map_err(|error| {
        // Best effort: the failure to write is what matters.
        let _ = fs::remove_file(&part);
        Failure::file("write", path, &error)
    })
}

/// `X-Registry-Config` for the registries of these images.
pub(crate) fn registries_auth(config: &ConfigFile, images: &[&str]) -> Result<String, Failure> {
    let servers = images.iter().map(|image| crate::image_ref::server(image).to_owned());
    let all: Result<std::collections::BTreeMap<String, AuthConfig>, Failure> =
        servers.map(|server| Ok((server.clone(), config.credentials(&server)?))).collect();
    encode(&all?)
}

/// `X-Registry-Auth` for an image's registry.
pub(crate) fn registry_auth(config: &ConfigFile, image: &str) -> Result<String, Failure> {
    encode(&config.credentials(crate::image_ref::server(image))?)
}

/// Credentials as the API takes them in a header.
pub(crate) fn encode(auth: &impl serde::Serialize) -> Result<String, Failure> {
    let json = serde_json::to_vec(auth).map_err(|e| Failure::new(format!("encode credentials: {e}")))?;
    Ok(URL_SAFE.encode(json))
}

/// All credentials of the file, for `X-Registry-Config` of a build.
pub(crate) fn all_credentials(
    config: &ConfigFile,
) -> Result<std::collections::BTreeMap<String, AuthConfig>, Failure> {
    let servers: Vec<String> = ["auths", "credHelpers"]
        .iter()
        .filter_map(|key| config.content.get(*key).and_then(Value::as_object))
        .flat_map(|map| map.keys().cloned())
        .collect();
    let mut all = std::collections::BTreeMap::new();
    for server in servers {
        match config.credentials(&server) {
            Ok(auth) => drop(all.insert(server, auth)),
            // Whatever does not need this registry works without its helper.
            Err(failure) => {
                note(format!("WARNING: failed to get credentials for registry {server}: {failure}"));
            }
        }
    }
    Ok(all)
}

/// Credentials as a configuration of their own; `None` when there are none.
pub(crate) fn as_file(all: &std::collections::BTreeMap<String, AuthConfig>) -> Option<Value> {
    let auths: Map<_, _> = all.iter().map(|(server, auth)| (server.clone(), entry(auth))).collect();
    (!auths.is_empty()).then(|| json!({"auths": auths}))
}

/// One server's, as Docker's client writes it: a token may stand beside a name, and by itself.
fn entry(auth: &AuthConfig) -> Value {
    let mut entry = Map::new();
    if !auth.username.is_empty() || !auth.password.is_empty() {
        let both = STANDARD.encode(format!("{}:{}", auth.username, auth.password));
        entry.insert("auth".to_owned(), both.into());
    }
    if !auth.identity_token.is_empty() {
        entry.insert("identitytoken".to_owned(), auth.identity_token.as_str().into());
    }
    entry.into()
}

/// The host in a server's address.
fn host_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn credentials_are_kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), r#"{"HttpHeaders":{"a":"b"},"psFormat":"x"}"#).unwrap();
        let mut config = ConfigFile::load(dir.path()).unwrap();
        assert_eq!(config.text("psFormat"), Some("x"));
        let auth = AuthConfig {
            username: "me".into(),
            password: "p:w".into(),
            server_address: "127.0.0.1:5000".into(),
            ..AuthConfig::default()
        };
        assert!(config.keep(&auth).unwrap());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut config = ConfigFile::load(dir.path()).unwrap();
        let found = config.credentials("127.0.0.1:5000").unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "p:w"));
        assert_eq!(config.content["HttpHeaders"]["a"], "b", "the rest of the file is kept");
        config.forget("127.0.0.1:5000").unwrap();
        assert_eq!(config.credentials("127.0.0.1:5000").unwrap(), AuthConfig::default());
    }

    #[test]
    fn helpers_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), r#"{"credHelpers":{"r.example":"no-such-helper-here"}}"#).unwrap();
        let config = ConfigFile::load(dir.path()).unwrap();
        let error = config.credentials("r.example").unwrap_err();
        assert!(error.message.contains("docker-credential-no-such-helper-here"), "{error}");
    }
}
