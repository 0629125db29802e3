//! The `Launcher` seam: runs containers, and reaches into running ones.
//!
//! *Launch*: a monitor process builds the container and waits; the engine connects networks meanwhile, then
//! lets it go. *Watch*: the stream of events of one container; it ends with `Exited`, with `Failed`, or with
//! `Lost` when the monitor itself died. A new engine process finds running containers with `adopt`.

use crate::ContainerId;
use crate::error::Result;
use crate::snapshots::RootMount;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use wharf_oci::runtime_spec::{Process, Resources, Seccomp, Spec};

/// Everything that is needed to start a container.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchSpec {
    /// The container.
    pub id: ContainerId,
    /// The configuration, without a root path and without a system call filter.
    pub spec: Spec,
    /// The root file system.
    pub root: RootMount,
    /// The system call filter.
    pub seccomp: Option<Seccomp>,
    /// Where output is kept.
    pub log: Option<LogFile>,
    /// stdin stays open for clients.
    pub open_stdin: bool,
    /// stdin ends with the first client that ends it.
    pub stdin_once: bool,
    /// A minimal init is process 1.
    pub init: bool,
    /// Clients that have the streams from the first byte, at most [`MAX_ATTACHED`].
    pub attached: Vec<StreamSet>,
}

/// A file of output in Docker's json-file format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file in use; older ones get `.1`, `.2` and so on, and `.gz` when they are compressed.
    pub path: PathBuf,
    /// Bytes after which it is rotated; 0 is never.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
    /// Rotated files are compressed.
    pub compress: bool,
    /// What each line tells of the container: a JSON object, or nothing.
    pub attributes: String,
}

/// Clients that one launch connects; the connections travel in one message.
pub const MAX_ATTACHED: usize = 31;

/// How far a start had come when it failed. Decides the exit code of `docker run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailedStage {
    /// The set-up: 125… of `docker run`.
    Setup,
    /// The program exists and cannot be executed: 126.
    NotExecutable,
    /// The program does not exist: 127.
    NotFound,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// Exit code; 128 + n after signal n.
    pub code: i32,
    /// Nanoseconds since the epoch.
    pub at_ns: i128,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
}

/// What a container's monitor tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonitorEvent {
    /// The namespaces are there: networks may be connected to this process's.
    Cloned {
        /// Process id on the host.
        pid: i32,
    },
    /// Prepared: waits for `go`, unless it was said before.
    Ready,
    /// The program runs.
    Running {
        /// Process id on the host.
        pid: i32,
    },
    /// It did not come to run; everything is undone.
    Failed {
        /// How far it had come.
        stage: FailedStage,
        /// What failed and why.
        message: String,
    },
    /// Its first process ended.
    Exited(ExitStatus),
    /// Something went wrong that it survives.
    Warning(String),
    /// A further process ended.
    ExecExited {
        /// The exec's id.
        id: String,
        /// Its exit code.
        code: i32,
    },
    /// The monitor is gone without a word, and what it had written down of the exit. What it left is to be cleaned.
    Lost(Option<ExitStatus>),
}

/// A container on its way or running.
pub struct Watch {
    /// What happens, in order.
    pub events: mpsc::UnboundedReceiver<MonitorEvent>,
    /// Lets the container go as soon as it is prepared: any message.
    pub go: mpsc::UnboundedSender<()>,
    /// The streams of the clients attached from the start, in their order.
    pub streams: Vec<UnixStream>,
}

/// Which streams are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamSet {
    /// The connection's bytes go to stdin.
    pub stdin: bool,
    /// Standard output comes back.
    pub stdout: bool,
    /// Standard error comes back.
    pub stderr: bool,
}

/// A further process.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecSpec {
    /// Its id.
    pub id: String,
    /// What to run.
    pub process: Process,
    /// The system call filter.
    pub seccomp: Option<Seccomp>,
    /// What the connection carries.
    pub streams: StreamSet,
}

/// What an exec's start gave.
pub struct ExecStarted {
    /// Process id on the host.
    pub pid: i32,
    /// Its streams: raw with a terminal, else Docker's multiplexed frames from the process.
    pub stream: UnixStream,
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in ns: total, user, system.
    pub cpu_ns: (u64, u64, u64),
    /// Periods, throttled periods, throttled ns.
    pub throttling: (u64, u64, u64),
    /// Bytes in use.
    pub memory: u64,
    /// Most bytes ever in use.
    pub memory_peak: u64,
    /// Bytes allowed; `u64::MAX` without a limit.
    pub memory_limit: u64,
    /// Counters of the kernel's `memory.stat`.
    pub memory_stat: std::collections::BTreeMap<String, u64>,
    /// Times the limit was hit.
    pub memory_failures: u64,
    /// Tasks.
    pub pids: u64,
    /// Tasks allowed; 0 without a limit.
    pub pids_limit: u64,
    /// Block devices: major, minor, bytes read, bytes written, reads, writes.
    pub block: Vec<(u32, u32, u64, u64, u64, u64)>,
}

/// Runs containers.
///
/// Errors: `NotFound` when the container has no monitor; `Invalid` when a program cannot be executed (the
/// message is Docker's); `Unsupported` when the host lacks a feature; `Internal` else.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Starts a monitor. What it makes is undone by itself on failure, or when the engine dies before `go`.
    async fn launch(&self, spec: LaunchSpec) -> Result<Watch>;
    /// Finds a running container of an earlier engine process. When it ended meanwhile, the stream gives
    /// `Exited` at once. `None` when there is no trace of it.
    async fn adopt(&self, id: &ContainerId) -> Result<Option<Watch>>;
    /// Connects to the container's streams.
    async fn attach(&self, id: &ContainerId, streams: StreamSet) -> Result<UnixStream>;
    /// Starts a further process.
    async fn exec(
        &self,
        id: &ContainerId,
        exec: ExecSpec,
    ) -> Result<Result<ExecStarted, (FailedStage, String)>>;
    /// Sends a signal to the first process.
    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<()>;
    /// Sends a signal to an exec. `NotFound` when it does not run any more.
    async fn signal_exec(&self, id: &ContainerId, exec: &str, signal: i32) -> Result<()>;
    /// Changes the size of a terminal: the container's or an exec's.
    async fn resize(&self, id: &ContainerId, exec: Option<&str>, rows: u16, columns: u16) -> Result<()>;
    /// Stops all processes for a while or lets them go on. `Conflict` when there are none.
    async fn freeze(&self, id: &ContainerId, cgroup: &str, frozen: bool) -> Result<()>;
    /// Whether its processes are stopped.
    async fn is_frozen(&self, cgroup: &str) -> Result<bool>;
    /// Changes limits.
    async fn update(&self, cgroup: &str, resources: &Resources) -> Result<()>;
    /// What it uses.
    async fn usage(&self, cgroup: &str) -> Result<Usage>;
    /// Its processes, as the host numbers them.
    async fn processes(&self, cgroup: &str) -> Result<Vec<i32>>;
    /// Forgets a container whose monitor told its exit: the monitor itself removes the rest.
    async fn forget(&self, id: &ContainerId) -> Result<()>;
    /// Removes whatever is left of a container without a monitor: processes, cgroup, run directory.
    async fn clean(&self, id: &ContainerId, cgroup: &str) -> Result<()>;
    /// A directory for what is needed only while the container runs; `forget` and `clean` remove it.
    fn run_directory(&self, id: &ContainerId) -> PathBuf;
    /// The number of a signal's name; `None` when there is no such signal.
    fn signal_number(&self, name: &str) -> Option<i32>;
}
