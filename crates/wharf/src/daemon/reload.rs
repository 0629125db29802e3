//! SIGHUP: the configuration file is read again.

use super::config::Args;
use super::file;
use super::file::Live;
use super::registry::Served;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use wharf_distribution::client::Mirror;
use wharf_docker_server::Api;

/// Changes how much is logged: more with `true`.
pub(super) type Levels = Box<dyn Fn(bool) + Send + Sync>;

/// What is needed to read the configuration again.
pub(super) struct Reload {
    /// The command line, whose flags the file must not repeat.
    pub(super) args: Vec<OsString>,
    pub(super) levels: Levels,
}

impl Reload {
    fn read(&self) -> anyhow::Result<Live> {
        let (mut args, matches) = Args::parse(&self.args)?;
        file::merge(&mut args, &matches)?;
        args.live()
    }

    /// As Docker: what can change while the engine runs changes, the rest waits for the next start. With a broken
    /// file everything stays.
    pub(super) fn apply(&self, api: &Api, registry: Option<&mut Served>) {
        let live = match self.read() {
            Ok(live) => live,
            Err(e) => return tracing::error!("reload the configuration: {e:#}"),
        };
        (self.levels)(live.debug);
        api.about.debug.store(live.debug, Ordering::Relaxed);
        *api.about.labels.lock().unwrap_or_else(PoisonError::into_inner) = live.labels.clone();
        let mirrors = |registry: &str| -> Vec<&str> {
            live.registries.mirrors.get(registry).into_iter().flatten().map(Mirror::url).collect()
        };
        let attributes = BTreeMap::from([
            ("debug".to_owned(), live.debug.to_string()),
            ("labels".to_owned(), format!("{:?}", live.labels)),
            ("gc".to_owned(), live.gc.rules().join("; ")),
            ("insecure-registries".to_owned(), format!("{:?}", live.registries.insecure_registries)),
            ("registry-mirrors".to_owned(), format!("{:?}", mirrors("docker.io"))),
        ]);
        match (registry, &live.registry) {
            (Some(registry), Some(settings)) => registry.apply(settings),
            (None, None) => {}
            _ => tracing::warn!("the registry is begun or ended at the next start"),
        }
        api.gc.set_policy(live.gc);
        api.images.client().set(live.registries);
        api.images.set_signature_policy(live.signatures);
        api.events.publish("daemon", "reload", &api.about.id, attributes);
        tracing::info!("configuration reloaded");
    }
}
