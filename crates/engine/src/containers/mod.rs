//! Containers: creating, finding, and one actor each that owns its life.
//!
//! ```text
//!  service ──Command──▶ actor (owner of the record) ──▶ records, launcher, networks
//!     ▲                   │ publishes a View
//!     └── list, inspect ──┘
//! ```

mod actor;
mod archive;
mod create;
mod files;
mod filesystem;
mod health;
pub mod kept;
mod labels;
mod links;
mod networking;
mod recover;
mod remove;
pub mod spec;
mod start;
mod stats;
mod step;

pub use actor::{Command, StopRequest, Update};
pub use create::Created;
pub use stats::{Sample, host_memory};
pub use step::{StepHost, StepMount, StepOutput, StepSource, StepSpec};

use crate::events::Events;
use crate::execs::{Exec, Execs};
use crate::networks::Networks;
use crate::security::Modules;
use crate::volumes::VolumeService;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use wharf_model::container::ContainerRecord;
use wharf_model::idmap::IdMap;
use wharf_model::launcher::{Launcher, LogFile, StreamSet};
use wharf_model::records::{RecordKind, Records};
use wharf_model::snapshots::Snapshots;
use wharf_model::{ContainerId, Error, Result};
use wharf_oci::digest::{ChainId, Digest};

/// An image as containers need it.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// Its id.
    pub id: Digest,
    /// How containers of it start.
    pub config: wharf_oci::image_config::Config,
    /// Its topmost layer; `None` for an image without layers.
    pub chain: Option<ChainId>,
}

/// Where containers get images from.
pub trait ImageSource: Send + Sync {
    /// Finds an image by name, id or the beginning of an id.
    fn find(&self, name: &str) -> Result<ImageView>;
    /// A container is made of an image, or was until now.
    fn used(&self, image: &Digest);
}

/// What the service and its actors use.
pub struct Collaborators {
    /// Where records are kept.
    pub records: Arc<dyn Records>,
    /// Root file systems.
    pub snapshots: Arc<dyn Snapshots>,
    /// Runs containers.
    pub launcher: Arc<dyn Launcher>,
    /// Images.
    pub images: Arc<dyn ImageSource>,
    /// Networks.
    pub networks: Arc<Networks>,
    /// Volumes.
    pub volumes: Arc<VolumeService>,
    /// Who listens.
    pub events: Events,
    /// Further processes.
    pub execs: Arc<Execs>,
    /// Directory of the containers' own files.
    pub directory: PathBuf,
    /// Path below which cgroups are made.
    pub cgroup_parent: String,
    /// How ids of containers are mapped that do not share the host's users.
    pub remap: Option<IdMap>,
    /// Where devices are described that are asked for by name, the later one wins.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Which profiles and labels containers get.
    pub security: Modules,
    /// Build steps, and what is left of those that were given up.
    pub steps: tokio_util::task::TaskTracker,
}

/// What others see of a container.
#[derive(Debug, Clone)]
pub struct View {
    /// The record as it stands.
    pub record: Arc<ContainerRecord>,
    /// How many runs have ended since the engine started.
    pub exits: u64,
    /// It is gone.
    pub removed: bool,
}

/// A container's actor, seen from outside.
pub struct Handle {
    id: ContainerId,
    commands: mpsc::UnboundedSender<Command>,
    view: watch::Receiver<View>,
}

impl Handle {
    /// The id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The record as it stands.
    pub fn record(&self) -> Arc<ContainerRecord> {
        self.view.borrow().record.clone()
    }

    /// Follows changes.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Asks the actor and waits for its answer.
    pub async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::not_found(format!("No such container: {}", self.id.short()));
        self.commands.send(command(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Starts it.
    pub async fn start(&self) -> Result<()> {
        self.ask(Command::Start).await
    }

    /// Stops it; nothing happens when it does not run.
    pub async fn stop(&self, request: StopRequest) -> Result<()> {
        self.ask(|reply| Command::Stop(request, reply)).await
    }

    /// Stops it when it runs, and starts it.
    pub async fn restart(&self, request: StopRequest) -> Result<()> {
        match self.stop(request).await {
            Err(e) if e.kind() != wharf_model::ErrorKind::NotModified => return Err(e),
            _ => {}
        }
        self.start().await
    }

    /// Sends a signal.
    pub async fn kill(&self, signal: i32) -> Result<()> {
        self.ask(|reply| Command::Kill(signal, reply)).await
    }

    /// Stops all its processes for a while, or lets them go on.
    pub async fn pause(&self, paused: bool) -> Result<()> {
        self.ask(|reply| Command::Pause(paused, reply)).await
    }

    /// Gives it another name.
    pub async fn rename(&self, name: String) -> Result<()> {
        self.ask(|reply| Command::Rename(name, reply)).await
    }

    /// Removes it; `force` ends it first, `volumes` takes its anonymous volumes along.
    pub async fn remove(&self, force: bool, volumes: bool) -> Result<()> {
        self.ask(|reply| Command::Remove { force, volumes, reply }).await
    }

    /// Connects to its streams: at once when it runs, else when it starts.
    pub async fn attach(&self, streams: StreamSet) -> Result<oneshot::Receiver<UnixStream>> {
        self.ask(|reply| Command::Attach(streams, reply)).await
    }
}

/// Which containers there are. Shared by the service and the actors.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<RwLock<HashMap<ContainerId, Arc<Handle>>>>, Creating);

/// Images of containers that are being created.
type Creating = Arc<Mutex<HashMap<ContainerId, Vec<Digest>>>>;

impl Registry {
    fn creating(&self) -> MutexGuard<'_, HashMap<ContainerId, Vec<Digest>>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<ContainerId, Arc<Handle>>) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn insert(&self, handle: Arc<Handle>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(handle.id.clone(), handle);
    }

    fn forget(&self, id: &ContainerId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn list(&self) -> Vec<Arc<Handle>> {
        self.read(|handles| handles.values().cloned().collect())
    }

    /// Finds one by id, name, or the beginning of its id.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Handle>> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let absent = || Error::not_found(format!("No such container: {name}"));
        if let Ok(id) = name.parse::<ContainerId>()
            && let Some(handle) = self.read(|handles| handles.get(&id).cloned())
        {
            return Ok(handle);
        }
        self.read(|handles| {
            if let Some(handle) = handles.values().find(|h| h.view.borrow().record.name == name) {
                return Ok(handle.clone());
            }
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(absent());
            }
            let mut matching = handles.values().filter(|h| h.id.as_str().starts_with(name));
            match (matching.next(), matching.next()) {
                (Some(handle), None) => Ok(handle.clone()),
                (Some(_), Some(_)) => {
                    Err(Error::invalid(format!("Multiple IDs found with provided prefix: {name}")))
                }
                _ => Err(absent()),
            }
        })
    }
}

/// All containers.
pub struct Containers {
    shared: Arc<Collaborators>,
    registry: Registry,
}

impl Containers {
    /// The service, without its containers: see [`Containers::recover`].
    pub fn new(shared: Collaborators) -> Arc<Self> {
        Arc::new(Self { shared: Arc::new(shared), registry: Registry::default() })
    }

    fn insert(&self, handle: Handle) -> Arc<Handle> {
        let handle = Arc::new(handle);
        self.registry.insert(handle.clone());
        handle
    }

    /// All of them, newest first.
    pub fn list(&self) -> Vec<Arc<Handle>> {
        let mut all = self.registry.list();
        all.sort_by_cached_key(|h| std::cmp::Reverse(h.record().created_ns));
        all
    }

    /// Finds one by id, name, or the beginning of its id.
    pub fn find(&self, name: &str) -> Result<Arc<Handle>> {
        self.registry.find(name)
    }

    /// Whether a container was made from an image, or is about to be: its name, for the message of a refusal.
    pub fn user_of_image(&self, image: &Digest) -> Option<(ContainerId, bool)> {
        if let Some((id, _)) = self.registry.creating().iter().find(|(_, images)| images.contains(image)) {
            return Some((id.clone(), true));
        }
        self.registry.read(|handles| {
            handles.values().find_map(|h| {
                let record = h.record();
                let mounts = record.mounts.iter().any(|m| m.image.as_ref() == Some(image));
                (mounts || record.image == *image).then(|| (record.id.clone(), record.status.is_running()))
            })
        })
    }

    /// Which profiles and labels containers get.
    pub fn security(&self) -> &Modules {
        &self.shared.security
    }

    /// The path of a container's cgroup.
    pub fn cgroup_of(&self, record: &ContainerRecord) -> String {
        self.shared.cgroup_of(record)
    }

    pub(crate) fn execs(&self) -> &Execs {
        &self.shared.execs
    }

    /// The environment of a container's processes, with a terminal or without.
    pub(crate) fn environment(&self, record: &ContainerRecord, tty: bool) -> Vec<String> {
        let own = spec::environment(record, tty);
        // Of a container that does not run any more there is nothing to tell.
        match links::environment(&self.registry, record) {
            Ok(told) if !told.is_empty() => wharf_model::container::merge_env(&told, &own),
            _ => own,
        }
    }

    /// Tells who listens what happened to a container.
    pub fn publish(&self, action: &str, record: &ContainerRecord, more: &[(&str, String)]) {
        self.shared.publish(action, record, more);
    }

    pub(crate) fn publish_exec(
        &self,
        action: &str,
        record: &ContainerRecord,
        exec: &Exec,
        more: &[(&str, String)],
    ) {
        self.shared.publish_exec(action, record, exec, more);
    }

    /// The launcher, for what needs no owner: resizing, statistics.
    pub fn launcher(&self) -> &Arc<dyn Launcher> {
        &self.shared.launcher
    }

    /// The file that a container's output is kept in.
    pub fn log_file(&self, record: &ContainerRecord) -> PathBuf {
        self.shared.log_file(&record.id)
    }

    /// Where the engine keeps its files in a running container, such as `hosts`.
    pub fn run_directory_of(&self, id: &ContainerId) -> PathBuf {
        self.shared.launcher.run_directory(id)
    }

    /// Where a container keeps its own files.
    pub fn directory_of(&self, id: &ContainerId) -> PathBuf {
        self.shared.directory_of(id)
    }
}

impl Collaborators {
    fn cgroup_of(&self, record: &ContainerRecord) -> String {
        let parent = &record.spec.cgroup_parent;
        let parent = if parent.is_empty() { &self.cgroup_parent } else { parent };
        format!("/{}/{}", parent.trim_matches('/'), record.id)
    }

    /// That a container has a name already, in Docker's words.
    fn taken(&self, name: &str) -> Result<String> {
        let holder = self.records.holder(RecordKind::Container, name)?.unwrap_or_default();
        Ok(format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
        ))
    }

    fn directory_of(&self, id: &ContainerId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    fn publish(&self, action: &str, record: &ContainerRecord, more: &[(&str, String)]) {
        let mut attributes = record.spec.labels.clone();
        attributes.insert("image".to_owned(), record.spec.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.events.publish("container", action, record.id.as_str(), attributes);
    }

    /// That it ended, as it is recorded.
    fn publish_end(&self, record: &ContainerRecord) {
        if record.oom_killed {
            self.publish("oom", record, &[]);
        }
        let lasted = record.finished_ns - record.started_ns;
        let seconds = (lasted.max(0) / 1_000_000_000).to_string();
        self.publish("die", record, &[("execDuration", seconds), ("exitCode", record.exit_code.to_string())]);
    }

    /// As Docker: the command is part of what happened, but for the end.
    fn publish_exec(&self, action: &str, record: &ContainerRecord, exec: &Exec, more: &[(&str, String)]) {
        let action = match action {
            "exec_die" => action.to_owned(),
            // The program, a space and the arguments, if there are any or not.
            _ => match &exec.spec.command[..] {
                [program] => format!("{action}: {program} "),
                command => format!("{action}: {}", command.join(" ")),
            },
        };
        let id = [("execID", exec.id.to_string())];
        self.publish(&action, record, &[&id, more].concat());
    }

    fn log_file(&self, id: &ContainerId) -> PathBuf {
        self.directory_of(id).join(format!("{id}-json.log"))
    }

    /// Where the monitor writes; nowhere without a driver.
    fn log_target(&self, record: &ContainerRecord) -> Result<Option<LogFile>> {
        let log = &record.spec.log;
        if !log.has_file() {
            return Ok(None);
        }
        let attributes = crate::logs::about::attributes(record)?;
        let (path, max_size, max_files) = (self.log_file(&record.id), log.max_size, log.max_files);
        Ok(Some(LogFile { path, max_size, max_files, compress: log.compress, attributes }))
    }
}

/// Runs blocking work off the asynchronous threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal(format!("a worker failed: {e}"))),
    }
}
