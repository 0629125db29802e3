//! Compose files from registries and Git repositories: fetched through the engine while a project is read.

use crate::archive::extract::{Target, extract};
use crate::config::{ConfigFile, registry_auth};
use crate::context::Context;
use crate::failure::Failure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use wharf_compose::Error;
use wharf_compose::files::remote::{Remote, Wanted};
use wharf_compose::run::fetch;
use wharf_docker_api::client::{Client, Endpoint};

/// Whoever fetches applications with this command's engine and credentials, each once.
pub(crate) fn of(context: &Context) -> Remote {
    let endpoint = context.client.endpoint().clone();
    let config_dir = context.config_dir.clone();
    let known: Mutex<BTreeMap<Wanted, PathBuf>> = Mutex::default();
    Remote::new(move |wanted| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = known.get(wanted) {
            return Ok(path.clone());
        }
        let auth = match wanted {
            Wanted::Application(name) => {
                let config = ConfigFile::load(&config_dir).map_err(failed)?;
                registry_auth(&config, name).map_err(failed)?
            }
            Wanted::Repository(..) => String::new(),
        };
        let path = fetched(&endpoint, wanted, &auth)?;
        known.insert(wanted.clone(), path.clone());
        Ok(path)
    })
}

fn failed(failure: Failure) -> Error {
    Error::Project(failure.message)
}

/// Files are read in the middle of asynchronous work, and wait for this: a thread has a runtime of its own for it.
fn fetched(endpoint: &Endpoint, wanted: &Wanted, auth: &str) -> Result<PathBuf, Error> {
    let cache = cache()?;
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::project(format!("fetch a Compose file: {error}")))?;
        runtime.block_on(async {
            let client = Client::new(endpoint.clone());
            client.connect().await?;
            match wanted {
                Wanted::Application(name) => fetch::application(&client, name, auth, &cache).await,
                Wanted::Repository(address, inside) => {
                    fetch::repository(&client, (address, inside), &cache, &unpack).await
                }
            }
        })
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(Error::project("fetch a Compose file: it broke off")))
}

fn unpack(tar: &[u8], dir: &Path) -> std::io::Result<()> {
    let target = Target { dir: dir.to_owned(), name: PathBuf::new(), keep_owner: false, strip: false };
    extract(tar, &target)
}

/// Docker's own cache: paths in it are in labels and hashes, and either tool is to go on with the other's project.
fn cache() -> Result<PathBuf, Error> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    base.map(|base| base.join("docker-compose")).ok_or_else(|| {
        Error::project("there is no directory to keep fetched files in: set HOME or XDG_CACHE_HOME")
    })
}
