//! Verbs about named engines.

pub(super) mod create;
mod described;
pub(super) mod export;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod rm;
pub(super) mod show;
pub(super) mod switch;
pub(super) mod update;

use crate::app::DEFAULT_SOCKET;
use crate::config::contexts::{Address, DEFAULT, Endpoints, NamedEngine, Store};
use crate::failure::Failure;

/// The engine that flags and variables name, else this host's.
fn default_host() -> String {
    let named = ["WHARF_HOST", "DOCKER_HOST"].into_iter().find_map(|v| std::env::var(v).ok());
    named.filter(|host| !host.is_empty()).unwrap_or_else(|| format!("unix://{DEFAULT_SOCKET}"))
}

/// A context by its name, the default one as well.
fn known(store: &Store, name: &str) -> Result<NamedEngine, Failure> {
    if name != DEFAULT {
        return store.find(name);
    }
    let docker = Address { host: default_host(), skip_tls_verify: false };
    Ok(NamedEngine { name: name.to_owned(), endpoints: Endpoints { docker }, ..NamedEngine::default() })
}
