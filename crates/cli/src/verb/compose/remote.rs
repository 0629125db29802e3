//! Compose files from registries: fetched through the engine while a project is read.

use crate::config::{ConfigFile, registry_auth};
use crate::context::Context;
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use wharf_compose::Error;
use wharf_compose::files::remote::Remote;
use wharf_compose::run::fetch;
use wharf_docker_api::client::{Client, Endpoint};

/// Whoever fetches applications with this command's engine and credentials, each once.
pub(crate) fn of(context: &Context) -> Remote {
    let endpoint = context.client.endpoint().clone();
    let config_dir = context.config_dir.clone();
    let known: Mutex<BTreeMap<String, PathBuf>> = Mutex::default();
    Remote::new(move |name| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = known.get(name) {
            return Ok(path.clone());
        }
        let config = ConfigFile::load(&config_dir).map_err(failed)?;
        let auth = registry_auth(&config, name).map_err(failed)?;
        let path = fetched(&endpoint, name, &auth)?;
        known.insert(name.to_owned(), path.clone());
        Ok(path)
    })
}

fn failed(failure: Failure) -> Error {
    Error::Project(failure.message)
}

/// Files are read in the middle of asynchronous work, and wait for this: a thread has a runtime of its own for it.
fn fetched(endpoint: &Endpoint, name: &str, auth: &str) -> Result<PathBuf, Error> {
    let cache = cache()?;
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::project(format!("fetch {name}: {error}")))?;
        runtime.block_on(async {
            let client = Client::new(endpoint.clone());
            client.connect().await?;
            fetch::application(&client, name, auth, &cache).await
        })
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Error::project(format!("fetch {name}: it broke off"))))
}

/// Docker's own cache: paths in it are in labels and hashes, and either tool is to go on with the other's project.
fn cache() -> Result<PathBuf, Error> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    base.map(|base| base.join("docker-compose")).ok_or_else(|| {
        Error::project("there is no directory to keep fetched files in: set HOME or XDG_CACHE_HOME")
    })
}
