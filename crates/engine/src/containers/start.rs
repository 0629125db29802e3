//! Starting: networks reserved, monitor launched, networks connected while the root is built, then go.

use super::actor::Actor;
use super::spec::user::{self, Identity};
use super::spec::{self, Surroundings};
use super::{Registry, blocking, links};
use crate::clock::now_ns;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wharf_failpoint::failpoint;
use wharf_model::container::{ContainerRecord, NamespaceMode, NetworkMode, Shm, merge_env};
use wharf_model::launcher::{FailedStage, LaunchSpec, MAX_ATTACHED, MonitorEvent, Watch};
use wharf_model::snapshots::Tree;
use wharf_model::state::{Event, Status};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::runtime_spec::Resources;

/// How long building a root may take: a bind from a network file system that answers late, no more.
const PREPARE_LIMIT: Duration = Duration::from_secs(120);
/// How long a start still has when the container is to end: all usual ones are done by then, and end in good order.
const ABANDON_AFTER: Duration = Duration::from_secs(2);

/// Who removes processes and cgroup of an ended run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left {
    /// Its monitor, after it told the exit.
    ByMonitor,
    /// Nobody did yet.
    Behind,
}

/// Why a start failed, with the exit code that `docker run` shows.
struct Failure {
    code: i32,
    error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { code: 128, error }
    }
}

impl Actor {
    /// Starts the container. On failure everything is undone and the reason kept in the record.
    pub(super) async fn start(&mut self) -> Result<()> {
        let before = self.record.status;
        self.step(Event::Start)?;
        self.restart_at = None;
        self.abandon_at = None;
        if let Err(e) = self.shared.save(&self.record) {
            self.record.status = before;
            return Err(e);
        }
        failpoint!("start.intent");
        match self.try_start().await {
            Ok(()) => {
                failpoint!("start.running");
                self.shared.publish("start", &self.record, &[]);
                let kept = self.commit();
                failpoint!("start.kept");
                kept
            }
            Err(failure) => {
                self.watch = None;
                self.attaching.clear();
                self.release(Left::Behind).await;
                // From `Starting` it always can.
                let _ = self.step(Event::StartFailed);
                if before == Status::Created {
                    self.record.status = Status::Created;
                }
                self.record.pid = 0;
                self.record.exit_code = failure.code;
                self.record.error = failure.error.full();
                self.shared.publish("die", &self.record, &[("exitCode", failure.code.to_string())]);
                if let Err(e) = self.commit() {
                    tracing::error!("{}", e.full());
                }
                if self.record.spec.auto_remove {
                    // The reason of the failed start is what the caller must see.
                    if let Err(e) = self.remove(true).await {
                        tracing::error!("{}", e.full());
                    }
                }
                Err(failure.error)
            }
        }
    }

    async fn try_start(&mut self) -> Result<(), Failure> {
        if self.record.spec.log.is_remote() {
            crate::logs::remote::reach(&self.record).await?;
        }
        let shared = self.shared.clone();
        let registry = self.registry.clone();
        let record = self.record.clone();
        let (record, mut launch) = blocking(move || prepare(&shared, &registry, record)).await?;
        self.record.endpoints.clone_from(&record.endpoints);
        self.record.apparmor_profile.clone_from(&record.apparmor_profile);
        let mut waiting = std::mem::take(&mut self.attaching);
        waiting.retain(|(_, sender)| !sender.is_closed());
        self.attaching = waiting.split_off(waiting.len().min(MAX_ATTACHED));
        launch.attached = waiting.iter().map(|(streams, _)| *streams).collect();
        failpoint!("start.prepared");
        let mut watch = self.shared.launcher.launch(launch).await?;
        failpoint!("start.launched");
        self.connect(&mut watch).await?;
        self.record.pid = self.follow_to_running(&mut watch).await?;
        for ((_, sender), stream) in waiting.into_iter().zip(std::mem::take(&mut watch.streams)) {
            // A client that went away needs no streams.
            let _ = sender.send(stream);
        }
        self.record.started_ns = now_ns();
        self.backoff.began(std::time::Instant::now());
        self.record.finished_ns = 0;
        self.record.exit_code = 0;
        self.record.error.clear();
        self.watch = Some(watch);
        self.step(Event::Started)?;
        self.record.health = None;
        self.follow_health();
        Ok(())
    }

    /// Connects the networks as soon as the namespaces are there, while the monitor builds the root, and lets the
    /// container go when it will be prepared.
    async fn connect(&mut self, watch: &mut Watch) -> Result<(), Failure> {
        let pid = match self.next(watch).await? {
            MonitorEvent::Cloned { pid } => pid,
            other => return Err(unexpected(&other).into()),
        };
        failpoint!("start.cloned");
        if !self.record.endpoints.is_empty() {
            let networks = self.shared.networks.clone();
            let record = self.record.clone();
            match blocking(move || networks.connect(&record, pid)).await {
                Ok(published) => self.record.published = published,
                Err(e) => {
                    // When the container failed meanwhile, that is the cause, and what the caller must see.
                    self.next(watch).await?;
                    return Err(e.into());
                }
            }
            failpoint!("start.connected");
            // The addresses must be known to the next engine process before the program can use them.
            self.shared.save(&self.record)?;
            failpoint!("start.endpoints-kept");
            self.shared.tell_linked(&self.registry, &self.record)?;
        }
        self.shared.keep_beside(&self.record)?;
        failpoint!("start.record-beside");
        // A monitor that is gone has said why, or will be missed.
        let _ = watch.go.send(());
        failpoint!("start.told-to-go");
        Ok(())
    }

    /// Waits for the program; returns its process id.
    async fn follow_to_running(&mut self, watch: &mut Watch) -> Result<i32, Failure> {
        for (streams, sender) in std::mem::take(&mut self.attaching) {
            let stream = self.shared.launcher.attach(&self.record.id, streams).await?;
            // A client that went away needs no streams.
            let _ = sender.send(stream);
        }
        loop {
            match self.next(watch).await? {
                MonitorEvent::Ready => {}
                MonitorEvent::Running { pid } => return Ok(pid),
                other => return Err(unexpected(&other).into()),
            }
        }
    }

    /// The next event that matters to the start.
    async fn next(&mut self, watch: &mut Watch) -> Result<MonitorEvent, Failure> {
        let until = Instant::now() + PREPARE_LIMIT;
        loop {
            let event = tokio::select! {
                biased;
                event = watch.events.recv() => event,
                Some(command) = self.commands.recv() => {
                    if command.is_an_end() {
                        self.abandon_at.get_or_insert(Instant::now() + ABANDON_AFTER);
                    }
                    self.deferred.push_back(command);
                    continue;
                }
                () = tokio::time::sleep_until(self.abandon_at.unwrap_or(until).min(until)) => {
                    return Err(match self.abandon_at {
                        Some(_) => Error::conflict("the start was given up: the container is to end"),
                        None => too_long(),
                    }
                    .into());
                }
            };
            match event {
                Some(MonitorEvent::Warning(message)) => tracing::warn!("{message}"),
                Some(MonitorEvent::Failed { stage, message }) => return Err(refused(stage, &message)),
                None | Some(MonitorEvent::Lost(_)) => {
                    return Err(Error::internal("the monitor died during the start").into());
                }
                Some(event) => return Ok(event),
            }
        }
    }

    /// Gives ports and addresses back, and what else a run has.
    pub(super) async fn release(&mut self, left: Left) {
        let endpoints = std::mem::take(&mut self.record.endpoints);
        let published = std::mem::take(&mut self.record.published);
        let (networks, launcher) = (self.shared.networks.clone(), self.shared.launcher.clone());
        let released = if endpoints.is_empty() && published.is_empty() {
            Ok(())
        } else {
            blocking(move || networks.release(&endpoints, &published)).await
        };
        failpoint!("end.released");
        self.let_go_of_volumes();
        failpoint!("end.volumes-let-go");
        let cleaned = match left {
            Left::ByMonitor => launcher.forget(&self.record.id).await,
            Left::Behind => launcher.clean(&self.record.id, &self.shared.cgroup_of(&self.record)).await,
        };
        failpoint!("end.cleaned");
        for e in [released, cleaned].into_iter().filter_map(Result::err) {
            tracing::warn!(container = %self.record.id, "clean up: {}", e.full());
        }
    }
}

impl Actor {
    fn let_go_of_volumes(&self) {
        for mount in self.record.mounts.iter().filter(|m| m.kind == "volume") {
            match self.shared.volumes.let_go(&mount.name, &self.record.id) {
                Ok(()) => self.shared.volumes.tell_unmount(&mount.name, &self.record.id),
                Err(e) => {
                    tracing::warn!(container = %self.record.id, "let go of volume {}: {}", mount.name, e.full());
                }
            }
        }
    }
}

/// Waits as long as the preparation of a container may take.
pub(super) async fn within_limit<T>(waiting: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PREPARE_LIMIT, waiting).await.map_err(|_| too_long())
}

fn too_long() -> Error {
    Error::internal(format!("the container was not prepared within {} s", PREPARE_LIMIT.as_secs()))
}

fn unexpected(event: &MonitorEvent) -> Error {
    Error::internal(format!("the monitor said {event:?} during the start"))
}

/// The failure in Docker's words, by which its clients choose their exit code.
fn refused(stage: FailedStage, message: &str) -> Failure {
    let (code, kind) = match stage {
        FailedStage::Setup => (128, ErrorKind::Internal),
        FailedStage::NotExecutable => (126, ErrorKind::Invalid),
        FailedStage::NotFound => (127, ErrorKind::Invalid),
    };
    let error = Error::new(
        kind,
        format!("failed to create task for container: unable to start container process: {message}"),
    );
    Failure { code, error }
}

/// Everything a launch needs. Runs on a blocking thread.
pub(super) fn prepare(
    shared: &Arc<super::Collaborators>,
    registry: &Registry,
    mut record: ContainerRecord,
) -> Result<(ContainerRecord, LaunchSpec)> {
    let namespaces = shared_namespaces(registry, &record)?;
    if let Some(donor) = network_donor(registry, &record)? {
        record.spec.hostname = spec::hostname(&donor);
        record.spec.domainname.clone_from(&donor.spec.domainname);
    }
    record.apparmor_profile = shared.security.apparmor.profile_of(&record.spec);
    let root = shared.snapshots.root(record.id.as_str())?;
    for mount in record.mounts.iter().filter(|m| m.kind == "volume" && !m.name.is_empty()) {
        shared.volumes.hold(&mount.name, &record.id)?;
        shared.volumes.tell_mount(mount, &record.id);
    }
    failpoint!("start.volumes-held");
    record.endpoints = shared.networks.reserve(&record)?;
    failpoint!("start.reserved");
    let prepared = launch_spec(shared, registry, &record, &namespaces, root);
    if prepared.is_err() {
        // The first failure is what the caller must see.
        if let Err(e) = shared.networks.release(&record.endpoints, &[]) {
            tracing::warn!("{}", e.full());
        }
    }
    prepared.map(|launch| (record, launch))
}

fn launch_spec(
    shared: &super::Collaborators,
    registry: &Registry,
    record: &ContainerRecord,
    namespaces: &BTreeMap<&'static str, i32>,
    root: wharf_model::snapshots::RootMount,
) -> Result<LaunchSpec> {
    let mut record = std::borrow::Cow::Borrowed(record);
    if shared.remap.is_some() && shares_with_host_users(namespaces) {
        record.to_mut().spec.host_users = true;
    }
    let record = record.as_ref();
    let identity = identity_of(shared, record, Tree::Snapshot(record.id.as_str()))?;
    let linked = links::linked(registry, record)?;
    // Somebody may have removed it.
    let directory = shared.directory_of(&record.id);
    std::fs::create_dir_all(&directory)
        .map_err(|e| Error::wrap(ErrorKind::Internal, format!("make {}", directory.display()), e))?;
    let files = match network_donor(registry, record)? {
        Some(donor) => shared.files_of(&donor),
        None => {
            let files = shared.write_files(record, &linked)?;
            failpoint!("start.files-written");
            shared.relabel(record, &files)?;
            files
        }
    };
    let cgroup = shared.cgroup_of(record);
    spec::propagation::check(record)?;
    let mut layers = BTreeMap::new();
    for mount in &record.mounts {
        if let Some(image) = &mount.image {
            let found = shared.images.find(image.as_str())?;
            layers.insert(mount.target.clone(), shared.layers_of(&found)?);
        }
    }
    let around = Surroundings {
        identity: &identity,
        cgroup: &cgroup,
        shared: namespaces,
        remap: shared.remap.as_ref(),
        layers: &layers,
        files: &files,
    };
    let mut spec = spec::build(record, &around);
    if let Some(process) = spec.process.as_mut().filter(|_| !linked.is_empty()) {
        process.env = merge_env(&links::environment(registry, record)?, &process.env);
    }
    spec::cdi::inject(&mut spec, &record.spec.device_names, &shared.cdi_spec_dirs)?;
    Ok(LaunchSpec {
        id: record.id.clone(),
        spec,
        root,
        seccomp: spec::filter_of(record),
        log: shared.log_target(record)?,
        open_stdin: record.spec.open_stdin,
        stdin_once: record.spec.stdin_once,
        init: record.spec.init,
        attached: Vec::new(),
    })
}

/// Who a container's processes run as, by the files of a tree.
pub(crate) fn identity_of(
    shared: &super::Collaborators,
    record: &ContainerRecord,
    tree: Tree<'_>,
) -> Result<Identity> {
    let files = |path: &str| user::read_file(shared.snapshots.as_ref(), tree, path);
    user::resolve(record.user(), &record.spec.groups, &files)
}

/// How many containers may stand between one and the one whose network it shares.
const MAX_DONORS: usize = 16;

/// Whose network a container shares, by way of others too; its names and files go with the network.
fn network_donor(registry: &Registry, record: &ContainerRecord) -> Result<Option<Arc<ContainerRecord>>> {
    let mut donor: Option<Arc<ContainerRecord>> = None;
    for _ in 0..MAX_DONORS {
        let network = donor.as_ref().map_or(&record.spec.network, |donor| &donor.spec.network);
        let NetworkMode::Container(name) = network else { break };
        donor = Some(registry.find(name)?.record());
    }
    Ok(donor)
}

fn shared_namespaces(registry: &Registry, record: &ContainerRecord) -> Result<BTreeMap<&'static str, i32>> {
    let mut shared = BTreeMap::new();
    let mut join = |file, name: &str| {
        let what = if file == "net" { "network" } else { file };
        let other = registry
            .find(name)
            .map_err(|e| Error::wrap(e.kind(), format!("joining {what} namespace of container"), e))?;
        let other = other.record();
        if other.status != Status::Running {
            return Err(Error::conflict(format!(
                "cannot join {what} namespace of a non running container: container {} is {}",
                other.name,
                other.status.as_str()
            )));
        }
        shared.insert(file, other.pid);
        Ok(())
    };
    if let NetworkMode::Container(name) = &record.spec.network {
        join("net", name)?;
    }
    for (file, mode) in [("ipc", &record.spec.ipc), ("pid", &record.spec.pid), ("uts", &record.spec.uts)] {
        if let NamespaceMode::Container(name) = mode {
            if file == "ipc" {
                check_shareable(&registry.find(name)?.record())?;
            }
            join(file, name)?;
        }
    }
    Ok(shared)
}

/// Whether a container whose namespaces are joined has the host's users: who joins them has those, too.
fn shares_with_host_users(namespaces: &BTreeMap<&'static str, i32>) -> bool {
    let users = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user"));
    let Ok(own) = users("self") else { return false };
    namespaces.values().any(|pid| users(&pid.to_string()).is_ok_and(|its| its == own))
}

fn check_shareable(donor: &ContainerRecord) -> Result<()> {
    if donor.spec.ipc == NamespaceMode::Private && donor.spec.shm != Shm::Shareable {
        return Err(Error::invalid(format!(
            "failed to join IPC namespace: container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            donor.id
        )));
    }
    Ok(())
}

/// Lays changed limits over the ones there were.
pub(super) fn merge_resources(base: &mut Resources, changes: Resources) {
    if let Some(new) = changes.memory {
        let memory = base.memory.get_or_insert_default();
        memory.limit = new.limit.or(memory.limit);
        memory.reservation = new.reservation.or(memory.reservation);
        memory.swap = new.swap.or(memory.swap);
    }
    if let Some(new) = changes.cpu {
        let cpu = base.cpu.get_or_insert_default();
        cpu.shares = new.shares.or(cpu.shares);
        cpu.quota = new.quota.or(cpu.quota);
        cpu.period = new.period.or(cpu.period);
        if !new.cpus.is_empty() {
            cpu.cpus = new.cpus;
        }
        if !new.mems.is_empty() {
            cpu.mems = new.mems;
        }
    }
    if changes.pids.is_some() {
        base.pids = changes.pids;
    }
    if let Some(new) = changes.block_io {
        base.block_io = Some(new);
    }
}
