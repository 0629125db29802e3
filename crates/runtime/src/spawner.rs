//! The spawner: one thread, a tiny heap, and a fork for every container.
//!
//! The daemon has threads and may not fork; this process can. It reads run directories from a socket and forks
//! a monitor for each. It ends when the daemon's end of the socket closes; monitors go on.

use crate::error::{Doing, Error, Result};
use crate::{monitor, protocol};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wharf_sys::mount::{Change, attr, set_attributes};
use wharf_sys::process::{self, Cloned, SingleThreaded};
use wharf_sys::{signals, socket};

/// The descriptor that the daemon leaves open for the spawner.
pub const SOCKET_NUMBER: i32 = 3;
const SEALED: &str = "WHARF_SEALED";

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
    if std::env::var_os(SEALED).is_none() {
        return Err(reexec_sealed());
    }
    process::close_inherited_from(SOCKET_NUMBER as u32 + 1).doing("close descriptors")?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).doing("mark the socket")?;
    rustix::process::setsid().doing("start a session")?;
    // Nobody may read or trace what monitors do inside a container before they execute its program.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .doing("protect the process")?;
    signals::ignore(17); // SIGCHLD: ended monitors vanish
    signals::ignore(13); // SIGPIPE
    for signal in [1, 2, 15] {
        // The daemon's end is what ends the spawner, not the terminal's Ctrl-C.
        signals::ignore(signal);
    }
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

/// Executes this program again from a read-only view of its file. A container that gets hold of
/// `/proc/PID/exe` of one of our processes then cannot write to the binary on the host (CVE-2019-5736).
fn reexec_sealed() -> Error {
    let result = sealed_program().doing("open our own program read-only").map(|program| {
        let args: Vec<CString> =
            std::env::args_os().filter_map(|a| CString::new(a.as_bytes()).ok()).collect();
        let seal = CString::new(format!("{SEALED}=1")).unwrap_or_default();
        process::exec_fd(program.as_fd(), &args, &[seal])
    });
    match result {
        Ok(error) => Error::setup(format!("execute our own program: {error}")),
        Err(e) => e,
    }
}

/// The file behind `/proc/self/exe` on a read-only mount of its own, or a sealed copy where the kernel
/// (before 5.12) cannot do that.
fn sealed_program() -> std::io::Result<OwnedFd> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, "/proc/self/exe", flags)?;
    match set_attributes(mount.as_fd(), Change { set: attr::RDONLY, ..Change::default() }, None) {
        Ok(()) => Ok(mount),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => sealed_copy(),
        Err(e) => Err(e),
    }
}

fn sealed_copy() -> std::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let fd = memfd_create("wharf", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut copy = std::fs::File::from(fd);
    std::io::copy(&mut std::fs::File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy.into())
}

/// The daemon's side: asks the spawner for a monitor of a run directory. `control` becomes the monitor's first
/// connection.
pub fn request(spawner: BorrowedFd<'_>, directory: &Path, control: BorrowedFd<'_>) -> std::io::Result<()> {
    socket::send(spawner, directory.as_os_str().as_bytes(), &[control])
}
