//! The spawner: one thread, a tiny heap, and a fork for every container.
//!
//! The daemon has threads and may not fork; this process can. It reads run directories from a socket and forks
//! a monitor for each. It ends when the daemon's end of the socket closes; monitors go on.
//!
//! One monitor is made ahead, and takes the next container. There is none when containers are asked for faster than
//! [`PAUSE`]: then they are forked as they come.

use crate::error::{Doing, Result};
use crate::{init, monitor, protocol, sealed};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wharf_failpoint::failpoint;
use wharf_sys::cgroup::Layout;
use wharf_sys::process::{self, Cloned, SingleThreaded};
use wharf_sys::{signals, socket};

/// The daemon's socket is the spawner's standard input.
const SOCKET_NUMBER: i32 = 0;

/// Runs until the daemon goes away. Returns the exit code.
pub fn main() -> i32 {
    match run() {
        Ok(()) => 0,
        Err(e) => {
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("wharf spawner: {e}\n").as_bytes());
            1
        }
    }
}

fn run() -> Result<()> {
    let socket = process::inherited_fd(SOCKET_NUMBER).doing("take the daemon's socket")?;
    // Monitors have nothing to do with the environment the engine was started in.
    sealed::ensure(&kept_environment())?;
    process::close_inherited_from(3).doing("close descriptors")?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).doing("mark the socket")?;
    rustix::process::setsid().doing("start a session")?;
    signals::ignore(17); // SIGCHLD: ended monitors vanish
    signals::ignore(13); // SIGPIPE
    for signal in [1, 2, 15] {
        // The daemon's end is what ends the spawner, not the terminal's Ctrl-C.
        signals::ignore(signal);
    }
    init::overlay::probe();
    Layout::detect().doing("find the cgroup hierarchies")?;
    let proof = SingleThreaded::verify().doing("check for threads")?;
    let mut spare: Option<Spare> = None;
    loop {
        if spare.is_none() && !is_asked_within(socket.as_fd(), PAUSE).doing("wait for the daemon")? {
            spare = Spare::fork(&proof);
        }
        let Some((directory, connections)) = receive_launch(socket.as_fd()).doing("hear from the daemon")?
        else {
            return Ok(());
        };
        failpoint!("spawner.asked");
        if !spare.take().is_some_and(|spare| spare.take_on(&directory, &connections)) {
            spawn(&proof, &directory, connections);
        }
        failpoint!("spawner.passed-on");
    }
}

/// Nothing but what tests need.
fn kept_environment() -> Vec<std::ffi::CString> {
    let pair = |(name, value): (&str, std::ffi::OsString)| {
        std::ffi::CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    wharf_failpoint::environment().and_then(pair).into_iter().collect()
}

/// The next monitor is made when nobody asked for one that long: a start takes about as much, and forking must not slow
/// the one that goes on.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 6_000_000 };

/// Paths of run directories are shorter: the daemon's own sockets are beside them.
const DIRECTORY_LIMIT: usize = 8192;

/// How long a monitor made ahead may take to say that it has the container; it has nothing else to do.
const TAKEN_LIMIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a monitor made ahead says when it has a container.
pub(crate) const TAKEN: &[u8] = b"taken";

/// A monitor that waits for a container.
struct Spare {
    socket: OwnedFd,
    pid: i32,
}

impl Spare {
    /// `None` when there cannot be one: each container then gets a monitor of its own, and the error.
    fn fork(proof: &SingleThreaded) -> Option<Self> {
        let (ours, theirs) = socket::message_pair().ok()?;
        match process::clone(proof, 0, None).ok()? {
            Cloned::Child => {
                drop(ours);
                process::exit_now(monitor::ahead(proof, theirs))
            }
            Cloned::Parent { pid, .. } => Some(Self { socket: ours, pid }),
        }
    }

    /// Whether it took the container on. It did not when it has ended, which may be between our word and its.
    fn take_on(self, directory: &Path, connections: &[OwnedFd]) -> bool {
        let socket = self.socket.as_fd();
        let connections: Vec<_> = connections.iter().map(AsFd::as_fd).collect();
        if request(socket, directory, &connections).is_err() {
            return false;
        }
        if !is_asked_within(socket, TAKEN_LIMIT).unwrap_or(false) {
            // One that hangs must not wake up later, beside the one that takes its place.
            let _ = signals::send(self.pid, 9);
        }
        let mut word = [0; TAKEN.len()];
        matches!(socket::receive(socket, &mut word), Ok((n, _)) if n == TAKEN.len())
    }
}

fn is_asked_within(socket: BorrowedFd<'_>, pause: Timespec) -> std::io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut fds, Some(&pause)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Receives a run directory with the monitor's connections; `None` at the end.
pub(crate) fn receive_launch(socket: BorrowedFd<'_>) -> std::io::Result<Option<(PathBuf, Vec<OwnedFd>)>> {
    let mut buffer = [0u8; DIRECTORY_LIMIT];
    let (n, connections) = socket::receive(socket, &mut buffer)?;
    let directory = PathBuf::from(OsStr::from_bytes(&buffer[..n]));
    Ok((!connections.is_empty()).then_some((directory, connections)))
}

fn spawn(proof: &SingleThreaded, directory: &Path, connections: Vec<OwnedFd>) {
    match process::clone(proof, 0, None) {
        Ok(Cloned::Child) => process::exit_now(monitor::main(proof, directory, connections)),
        Ok(Cloned::Parent { .. }) => {}
        Err(e) => {
            let event = protocol::Event::Failed {
                stage: crate::error::Stage::Setup,
                message: format!("fork a monitor: {e}"),
            };
            let line = monitor::event_line(&event);
            // When the daemon is gone as well there is nobody to tell.
            let _ = connections.first().map(|control| rustix::io::write(control, &line));
        }
    }
}

/// The daemon's side: asks the spawner for a monitor of a run directory. The first of `descriptors` becomes the
/// monitor's control connection, then come those of the clients in the launch document, then the mounts of its images;
/// at most [`MAX_DESCRIPTORS`] in all.
pub fn request(
    spawner: BorrowedFd<'_>,
    directory: &Path,
    descriptors: &[BorrowedFd<'_>],
) -> std::io::Result<()> {
    socket::send(spawner, directory.as_os_str().as_bytes(), descriptors)
}

/// They go in one message.
pub const MAX_DESCRIPTORS: usize = socket::MAX_DESCRIPTORS;

/// Clients that are attached from the start.
pub const MAX_ATTACHED: usize = MAX_DESCRIPTORS - 1;
