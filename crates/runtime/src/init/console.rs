//! The container's terminal: a pseudo-terminal of its own devpts.

use super::mounts::{self, Place, open_place};
use super::rootfs::Built;
use crate::error::{Doing, Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::termios::Winsize;
use wharf_oci::runtime_spec::ConsoleSize;

/// Both sides of a terminal.
pub struct Console {
    /// The monitor's side.
    pub master: OwnedFd,
    slave: OwnedFd,
}

/// Opens a terminal in the container's devpts and puts it at `/dev/console`.
pub fn create(built: &Built, size: Option<ConsoleSize>) -> Result<Console> {
    let devpts = built.devpts.as_ref().ok_or_else(|| {
        Error::setup("a terminal was asked for, but the configuration mounts no devpts at /dev/pts")
    })?;
    let console = open(devpts, "ptmx", size)?;
    let place = open_place(built.root.as_fd(), "/dev/console", Place::File).doing("make /dev/console")?;
    let made = mounts::bind_fd(console.slave.as_fd(), false).doing("bind the terminal")?;
    mounts::attach(made.as_fd(), place.as_fd()).doing("attach /dev/console")?;
    Ok(console)
}

/// Opens a terminal through the multiplexer `name` in `directory`.
pub fn open(directory: &OwnedFd, name: &str, size: Option<ConsoleSize>) -> Result<Console> {
    let what = "open a terminal";
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat(directory, name, flags, Mode::empty()).doing(what)?;
    rustix::pty::unlockpt(&master).doing(what)?;
    let flags =
        rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).doing(what)?;
    if let Some(size) = size {
        resize(&master, size.height, size.width).doing(what)?;
    }
    Ok(Console { master, slave })
}

/// Makes the terminal the controlling one of this session and its standard streams.
pub fn take(console: &Console) -> Result<()> {
    rustix::process::ioctl_tiocsctty(&console.slave).doing("take the terminal")?;
    for number in 0..3 {
        wharf_sys::process::place_fd(console.slave.as_fd(), number).doing("place standard streams")?;
    }
    Ok(())
}

/// Changes the size of a terminal.
pub fn resize(master: &OwnedFd, rows: u16, columns: u16) -> rustix::io::Result<()> {
    rustix::termios::tcsetwinsize(
        master,
        Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 },
    )
}
