//! The spawner: one thread, a tiny heap, and a fork for every container.
//!
//! The daemon has threads and may not fork; this process can. It reads run directories from a socket and forks
//! a monitor for each. It ends when the daemon's end of the socket closes; monitors go on.

use crate::error::{Doing, Result};
use crate::{init, monitor, protocol, sealed};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
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
    sealed::ensure(&[])?;
    process::close_inherited_from(3).doing("close descriptors")?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).doing("mark the socket")?;
    rustix::process::setsid().doing("start a session")?;
    signals::ignore(17); // SIGCHLD: ended monitors vanish
    signals::ignore(13); // SIGPIPE
    for signal in [1, 2, 15] {
        // The daemon's end is what ends the spawner, not the terminal's Ctrl-C.
        signals::ignore(signal);
    }
    init::rootfs::probe();
    Layout::detect().doing("find the cgroup hierarchies")?;
    let proof = SingleThreaded::verify().doing("check for threads")?;
    let mut buffer = vec![0u8; 8192];
    loop {
        let (n, mut fds) = socket::receive(socket.as_fd(), &mut buffer).doing("hear from the daemon")?;
        if n == 0 {
            return Ok(());
        }
        let Some(control) = fds.pop() else { continue };
        let directory = Path::new(OsStr::from_bytes(&buffer[..n]));
        spawn(&proof, directory, control);
    }
}

fn spawn(proof: &SingleThreaded, directory: &Path, control: OwnedFd) {
    match process::clone(proof, 0, None) {
        Ok(Cloned::Child) => process::exit_now(monitor::main(proof, directory, control)),
        Ok(Cloned::Parent { .. }) => {}
        Err(e) => {
            let event = protocol::Event::Failed {
                stage: crate::error::Stage::Setup,
                message: format!("fork a monitor: {e}"),
            };
            let line = monitor::event_line(&event);
            // When the daemon is gone as well there is nobody to tell.
            let _ = rustix::io::write(&control, &line);
        }
    }
}

/// The daemon's side: asks the spawner for a monitor of a run directory. `control` becomes the monitor's first
/// connection.
pub fn request(spawner: BorrowedFd<'_>, directory: &Path, control: BorrowedFd<'_>) -> std::io::Result<()> {
    socket::send(spawner, directory.as_os_str().as_bytes(), &[control])
}
