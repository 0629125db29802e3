//! The registry of an image, with the user's credentials for it.

use clap::Args;
use std::path::PathBuf;
use wharf_distribution::client::{Client, ClientConfig, Credentials, Proxies, Repository, Settings};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::manifest::Descriptor;
use wharf_oci::reference::Reference;

/// How registries are reached
#[derive(Debug, Clone, Args)]
pub(super) struct Ways {
    /// Speak plain HTTP to the registry where it has no TLS
    #[arg(long)]
    allow_http_registry: bool,
    /// Take any certificate of the registry's, and plain HTTP
    #[arg(long)]
    allow_insecure_registry: bool,
    /// Directory with certificates of registries, HOST:PORT/ca.crt, as Docker keeps them
    #[arg(long, value_name = "DIR", default_value = "/etc/docker/certs.d")]
    registry_certs_dir: PathBuf,
}

impl Ways {
    /// The repository of an image.
    pub(super) fn repository(&self, reference: &Reference) -> Result<Repository> {
        let insecure = self.allow_http_registry || self.allow_insecure_registry;
        let settings = Settings {
            insecure_registries: insecure.then(|| reference.domain().to_owned()).into_iter().collect(),
            proxies: Proxies::from_env(|name| std::env::var(name).ok())?,
            ..Settings::default()
        };
        let certs_dir = self.registry_certs_dir.clone();
        let client = Client::new(&ClientConfig { settings, certs_dir, ..ClientConfig::default() })?;
        Ok(client.repository(reference, credentials(reference.domain())?))
    }
}

fn credentials(registry: &str) -> Result<Credentials> {
    let known = wharf_cli::user::credentials(registry)
        .map_err(|e| Error::new(ErrorKind::Invalid, format!("credentials for {registry}: {e}")))?;
    Ok(match (known.username, known.password, known.identity_token) {
        (_, _, token) if !token.is_empty() => Credentials::IdentityToken(token),
        (user, password, _) if !user.is_empty() => Credentials::Password { user, password },
        _ => Credentials::Anonymous,
    })
}

/// A name of an image.
pub(super) fn reference(text: &str) -> Result<Reference> {
    let parsed: std::result::Result<Reference, _> = text.parse();
    parsed
        .map(Reference::or_latest)
        .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("the image's name {text:?}"), e))
}

/// What a name means now; `NotFound` when that is nothing.
pub(super) async fn resolve(repository: &Repository, reference: &Reference) -> Result<Descriptor> {
    if let Some(digest) = reference.digest() {
        let found = repository.head_manifest(digest.as_str()).await?;
        let found = found.filter(|found| found.digest == *digest);
        return found.ok_or_else(|| absent(reference));
    }
    repository.head_manifest(reference.selector()).await?.ok_or_else(|| absent(reference))
}

fn absent(reference: &Reference) -> Error {
    Error::not_found(format!("{} is not in its registry", reference.familiar()))
}
