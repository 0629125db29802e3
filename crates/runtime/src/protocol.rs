//! What the daemon, the spawner and the monitors say to each other.
//!
//! *Launch*: the daemon writes `launch.json` into the container's run directory, and sends the spawner the
//! directory's path with one end of a stream socket, and one of another for each client that is attached from the
//! start. The monitor inherits the first as its control connection. *Later*: anyone who may open `monitor.sock` in the run directory sends one [`Request`] as a
//! line of JSON and gets one [`Reply`] line; after `attach` and `exec` the rest of the connection is data:
//! raw bytes to stdin, and from the process either raw bytes (terminal) or frames of Docker's multiplexed
//! stream (`[stream, 0, 0, 0, length as u32 big-endian]`).

use crate::error::Stage;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use wharf_oci::runtime_spec::{Process, Spec};

/// Name of the launch document in the run directory.
pub const LAUNCH_FILE: &str = "launch.json";
/// Name of the monitor's socket in the run directory.
pub const SOCKET_FILE: &str = "monitor.sock";
/// Name of the file with the outcome in the run directory.
pub const EXIT_FILE: &str = "exit.json";
/// A request line is at most this long: an exec with a large environment fits (128 KiB is one `execve` string).
pub const LINE_LIMIT: usize = 4 << 20;

/// Everything a monitor needs to start and serve one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The container's id.
    pub id: String,
    /// The configuration; `root.path` is where the root is mounted for the moment of building it.
    pub spec: Spec,
    /// How the root file system is mounted.
    pub root: Rootfs,
    /// A compiled system call filter, in place of `spec.linux.seccomp`.
    pub seccomp_file: Option<PathBuf>,
    /// Where output is kept.
    pub log: Option<LogFile>,
    /// stdin is a pipe (or the terminal) that clients may write to; else it is `/dev/null`.
    pub open_stdin: bool,
    /// stdin ends with the first client that ends it.
    pub stdin_once: bool,
    /// What the clients want that are attached from the start, in the order of their descriptors.
    pub attached: Vec<Streams>,
    /// The images whose mounts come with the request, after those clients.
    #[serde(default)]
    pub images: Vec<PathBuf>,
    /// Runs a minimal init as process 1 that reaps and passes signals on.
    pub init: bool,
}

/// How the root file system of a container is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Rootfs {
    /// An overlay, topmost lower directory first.
    Overlay {
        /// Read-only directories, and EROFS images (see `wharf_sys::erofs`).
        lower: Vec<PathBuf>,
        /// Writable directory.
        upper: PathBuf,
        /// Scratch directory of overlayfs.
        work: PathBuf,
    },
    /// A plain directory.
    Bind {
        /// The directory.
        path: PathBuf,
    },
}

/// A log in Docker's json-file format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The file in use; older ones get `.1`, `.2` and so on.
    pub path: PathBuf,
    /// Bytes after which it is rotated; 0 is never.
    pub max_size: u64,
    /// How many files are kept, the one in use included.
    pub max_files: u32,
    /// Rotated files are compressed, to `.1.gz` and so on.
    #[serde(default)]
    pub compress: bool,
    /// What each line tells of the container: a JSON object, or nothing.
    #[serde(default)]
    pub attributes: String,
}

/// What a monitor can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "op")]
pub enum Request {
    /// Lets a prepared container execute its program.
    Go,
    /// Turns the connection into a stream of [`Event`] lines, beginning with the state as it is.
    Watch,
    /// Turns the connection into the container's streams.
    Attach(Streams),
    /// Starts a further process and turns the connection into its streams.
    Exec(Box<Exec>),
    /// Sends a signal to the container's first process.
    Signal {
        /// The kernel's number.
        signal: i32,
    },
    /// Sends a signal to an exec's process.
    SignalExec {
        /// The exec's id.
        exec: String,
        /// The kernel's number.
        signal: i32,
    },
    /// Changes the size of a terminal.
    Resize {
        /// An exec's id, or the container's own terminal.
        exec: Option<String>,
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

/// Which streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streams {
    /// The connection's bytes go to stdin.
    pub stdin: bool,
    /// Standard output comes back.
    pub stdout: bool,
    /// Standard error comes back.
    pub stderr: bool,
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Names it in events and for `Resize`.
    pub id: String,
    /// What to run.
    pub process: Process,
    /// A compiled system call filter.
    pub seccomp_file: Option<PathBuf>,
    /// What the connection carries.
    pub streams: Streams,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// Done.
    Ok,
    /// There is no such exec, or not any more.
    Gone,
    /// The exec runs under this process id of the host.
    Started {
        /// The process id.
        pid: i32,
    },
    /// It could not be done.
    Failed {
        /// How far it had come.
        stage: Stage,
        /// What failed and why.
        message: String,
    },
}

/// What a monitor tells those who watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The namespaces are there; the network may be connected.
    Cloned {
        /// Process id on the host.
        pid: i32,
    },
    /// Everything is prepared, `Go` is awaited.
    Ready,
    /// The program runs.
    Running {
        /// Process id on the host.
        pid: i32,
    },
    /// The container did not come to run; everything is undone.
    Failed {
        /// How far it had come.
        stage: Stage,
        /// What failed and why.
        message: String,
    },
    /// The container's first process ended.
    Exited(Exit),
    /// Something went wrong that the container survives.
    Warning {
        /// What and why.
        message: String,
    },
    /// An exec ended.
    ExecExited {
        /// The exec's id.
        id: String,
        /// Its exit code.
        code: i32,
    },
}

/// How a container ended. Also the content of [`EXIT_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + n after signal n.
    pub code: i32,
    /// Nanoseconds since the epoch.
    pub at_ns: i64,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
}
