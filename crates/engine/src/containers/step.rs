//! One command of a build: a container without a record, in a snapshot of the builder's.

use super::{Containers, blocking, start};
mod files;

use crate::clock::now_ns;
use bytes::Bytes;
use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use wharf_model::container::{ContainerRecord, ContainerSpec, LogSpec, NetworkMode};
use wharf_model::launcher::{MonitorEvent, StreamSet, Watch};
use wharf_model::{ContainerId, Error, Result};
use wharf_oci::digest::Digest;
use wharf_oci::runtime_spec::{Resources, Rlimit};

/// What a step runs. Its environment may have secrets: it is not to be printed.
#[derive(Clone)]
pub struct StepSpec {
    /// Names the container and the snapshot it works in.
    pub id: ContainerId,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`; root when empty.
    pub user: String,
    /// Where it starts; `/` when empty.
    pub working_dir: String,
    /// `default`, `none`, `host`, `container:` and a container, or a network's name.
    pub network: String,
    /// What the user set for all commands of the build.
    pub host: StepHost,
    /// What it sees besides its root.
    pub mounts: Vec<StepMount>,
    /// With all rights, as a privileged container.
    pub privileged: bool,
    /// Kept until all of it is gone, also when its build is given up.
    pub held: Arc<dyn Any + Send + Sync>,
}

/// A mount of a step.
#[derive(Debug, Clone)]
pub struct StepMount {
    /// Where, absolute.
    pub target: String,
    /// Cannot be written through.
    pub read_only: bool,
    /// What it shows.
    pub source: StepSource,
}

/// What a mount of a step shows.
#[derive(Clone)]
pub enum StepSource {
    /// A path of the host that the engine made, whose files have the owners they have in layers.
    Path(PathBuf),
    /// A path of an image.
    Image {
        /// Which.
        id: Digest,
        /// The path in it; empty is all.
        subpath: String,
    },
    /// Memory, of so many bytes.
    Tmpfs(Option<u64>),
    /// A file that is on no disk.
    File {
        /// What is in it.
        content: Bytes,
        /// Permission bits.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
    /// A unix socket.
    Socket {
        /// Takes each connection, and has it for itself.
        connected: Arc<dyn Fn(UnixStream) + Send + Sync>,
        /// Permission bits.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
}

impl std::fmt::Debug for StepSource {
    /// Without the content of files, which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Image { id, subpath } => {
                f.debug_struct("Image").field("id", id).field("subpath", subpath).finish()
            }
            Self::Tmpfs(size) => f.debug_tuple("Tmpfs").field(size).finish(),
            Self::File { content, .. } => f.debug_tuple("File").field(&content.len()).finish(),
            Self::Socket { .. } => f.write_str("Socket"),
        }
    }
}

/// What the commands of a build run with; the image does not depend on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepHost {
    /// `name:address` lines of `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Limits.
    pub resources: Resources,
    /// Resource limits of the processes.
    pub ulimits: Vec<Rlimit>,
    /// Bytes of `/dev/shm`; 0 is 64 MiB.
    pub shm_size: i64,
    /// Path below which cgroups are made; empty is the engine's.
    pub cgroup_parent: String,
}

/// Takes a step's output: whether it is standard error, and the bytes.
pub type StepOutput<'a> = &'a (dyn Fn(bool, Bytes) + Send + Sync);

/// Ends a step's container when its build is given up.
struct Abandoned {
    containers: std::sync::Weak<super::Collaborators>,
    record: Option<ContainerRecord>,
    held: Arc<dyn Any + Send + Sync>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let (Some(shared), Some(record)) = (self.containers.upgrade(), self.record.take()) else { return };
        let held = Arc::clone(&self.held);
        let steps = shared.steps.clone();
        steps.spawn(async move {
            // What it works on is others' when its processes are gone.
            let _held = held;
            if let Err(e) = shared.undo_step(&record).await {
                tracing::warn!(step = %record.id, "undo a build step: {}", e.full());
            }
        });
    }
}

impl Containers {
    /// Waits until nothing is left of any build step. Whoever runs them has to have given them up.
    pub async fn steps_ended(&self) {
        self.shared.steps.close();
        self.shared.steps.wait().await;
    }

    /// Runs a command to its end and returns its exit code. Everything of it is gone afterwards, also when the
    /// future is dropped.
    pub async fn run_step(&self, step: StepSpec, output: StepOutput<'_>) -> Result<i32> {
        let _counted = self.shared.steps.token();
        let (shared, registry) = (self.shared.clone(), self.registry.clone());
        let (mounts, held) = (step.mounts.clone(), Arc::clone(&step.held));
        let mut record = record_of(step);
        let _level = self.label(&mut record)?;
        let directory = shared.directory_of(&record.id);
        std::fs::create_dir_all(&directory)
            .map_err(|e| Error::wrap(wharf_model::ErrorKind::Internal, "make the step's directory", e))?;
        let mut guard = Abandoned { containers: Arc::downgrade(&shared), record: Some(record.clone()), held };
        let run = shared.launcher.run_directory(&record.id);
        let owners = shared.remap.clone().filter(|_| !record.spec.host_users);
        let served = files::provide(&run, owners.as_ref(), mounts).await?;
        record.mounts = served.mounts;
        let worker = shared.clone();
        // In a task of its own: it goes on when this future is dropped, and what it reserved must be known then.
        let preparing = tokio::spawn(async move {
            let (record, launch) = blocking(move || start::prepare(&worker, &registry, record)).await?;
            guard.record = Some(record.clone());
            Ok::<_, Error>((guard, record, launch))
        });
        let failed = |e| Error::internal(format!("a worker failed: {e}"));
        let (mut guard, record, mut launch) = preparing.await.map_err(failed)??;
        launch.attached = vec![StreamSet { stdin: false, stdout: true, stderr: true }];
        let mut watch = shared.launcher.launch(launch).await?;
        let code = self.follow_step(&mut watch, &record, output).await;
        drop(served.sockets);
        guard.record = None;
        let undone = shared.undo_step(&record).await;
        let code = code?;
        undone?;
        Ok(code)
    }

    async fn follow_step(
        &self,
        watch: &mut Watch,
        record: &ContainerRecord,
        output: StepOutput<'_>,
    ) -> Result<i32> {
        let shared = &self.shared;
        let (mut stream, mut running) = (watch.streams.pop(), false);
        loop {
            let event = match &stream {
                // The program's own time has no limit.
                None if running => watch.events.recv().await,
                _ => start::within_limit(watch.events.recv()).await?,
            };
            match event.unwrap_or(MonitorEvent::Lost(None)) {
                MonitorEvent::Cloned { pid } => {
                    let (networks, record) = (shared.networks.clone(), record.clone());
                    blocking(move || networks.connect(&record, pid)).await?;
                    // A monitor that is gone has said why, or will be missed.
                    let _ = watch.go.send(());
                }
                MonitorEvent::Running { .. } => {
                    running = true;
                    if let Some(stream) = stream.take() {
                        pump(stream, output).await?;
                    }
                }
                MonitorEvent::Exited(exit) | MonitorEvent::Lost(Some(exit)) => return Ok(exit.code),
                MonitorEvent::Failed { message, .. } => {
                    return Err(Error::invalid(format!(
                        "failed to create task for container: unable to start container process: {message}"
                    )));
                }
                MonitorEvent::Lost(None) => {
                    return Err(Error::internal("the monitor of the build step died"));
                }
                MonitorEvent::Ready | MonitorEvent::Warning(_) | MonitorEvent::ExecExited { .. } => {}
            }
        }
    }
}

impl super::Collaborators {
    /// Removes all of a step but its snapshot.
    async fn undo_step(&self, record: &ContainerRecord) -> Result<()> {
        let cleaned = self.launcher.clean(&record.id, &self.cgroup_of(record)).await;
        let (networks, endpoints) = (self.networks.clone(), record.endpoints.clone());
        let released = blocking(move || networks.release(&endpoints, &[])).await;
        let removed = super::remove::remove_directory(&self.directory_of(&record.id));
        cleaned.and(released).and(removed)
    }
}

/// Passes multiplexed frames on until the end.
async fn pump(mut stream: UnixStream, output: StepOutput<'_>) -> Result<()> {
    let failed = |e| Error::wrap(wharf_model::ErrorKind::Internal, "read the output of the build step", e);
    loop {
        let mut header = [0u8; 8];
        match stream.read_exact(&mut header).await {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other.map_err(failed)?,
        };
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await.map_err(failed)?;
        output(header[0] == 2, bytes.into());
    }
}

fn record_of(step: StepSpec) -> ContainerRecord {
    let spec = ContainerSpec {
        entrypoint: Some(step.argv),
        env: step.env,
        user: step.user,
        working_dir: step.working_dir,
        network: NetworkMode::of(&step.network),
        extra_hosts: step.host.extra_hosts,
        resources: step.host.resources,
        ulimits: step.host.ulimits,
        shm_size: step.host.shm_size,
        cgroup_parent: step.host.cgroup_parent,
        privileged: step.privileged,
        // Such a one is not in a user namespace.
        host_users: step.privileged,
        log: LogSpec { driver: "none".to_owned(), ..LogSpec::default() },
        ..ContainerSpec::default()
    };
    let name = format!("build-{}", step.id.short());
    ContainerRecord::new(step.id, name, now_ns(), spec, Digest::sha256(b""), Default::default())
}
