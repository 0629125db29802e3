//! Another registry, with the credentials for it.

use crate::client::{Client, ClientConfig, Credentials, Repository, Settings};
use std::path::Path;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::reference::Reference;

pub(super) struct Far {
    registry: String,
    client: Client,
    credentials: Credentials,
}

impl Far {
    /// Reads the password; nothing is contacted yet.
    pub(super) fn open(
        registry: &str,
        user: Option<&str>,
        password_file: Option<&Path>,
        insecure: bool,
    ) -> Result<Self> {
        let insecure_registries = insecure.then(|| registry.to_owned()).into_iter().collect();
        let settings = Settings { insecure_registries, ..Settings::default() };
        let config = ClientConfig { settings, ..ClientConfig::default() };
        let credentials = match (user, password_file) {
            (Some(user), Some(file)) => {
                let password = std::fs::read_to_string(file).map_err(|e| {
                    Error::wrap(ErrorKind::Invalid, format!("read the password {}", file.display()), e)
                })?;
                let password = password.trim_end_matches(['\r', '\n']).to_owned();
                Credentials::Password { user: user.to_owned(), password }
            }
            _ => Credentials::Anonymous,
        };
        Ok(Self { registry: registry.to_owned(), client: Client::new(&config)?, credentials })
    }

    /// A repository there.
    pub(super) fn repository(&self, path: &str) -> Result<Repository> {
        let reference: Reference = format!("{}/{path}", self.registry).parse().map_err(|e| {
            Error::wrap(ErrorKind::NotFound, format!("{path} has no place in {}", self.registry), e)
        })?;
        Ok(self.client.repository(&reference, self.credentials.clone()))
    }
}
