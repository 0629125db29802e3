//! Null devices for a container. The host's is one inode for all: whoever has it on a mount that can be written to may
//! change its mode and owner.

use super::mounts;
use crate::error::{Doing, Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

const MAJOR: u32 = 1;
const MINOR: u32 = 3;

pub(super) fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(MAJOR, MINOR)
}

/// What files are masked with: the null device that was made in `dev`, or else the host's. It is to be mounted
/// read-only, which the container may undo if it has CAP_SYS_ADMIN; so the host's serves only those that have no
/// `/dev` of their own.
pub(super) fn for_mask(dev: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    dev.and_then(made_in).map_or_else(of_host, Ok)
}

/// The null device that lies in `dev` itself, not one that is mounted there from elsewhere.
fn made_in(dev: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::openat(dev, "null", flags, Mode::empty()).ok()?;
    let (stat, around) = (rustix::fs::fstat(&null).ok()?, rustix::fs::fstat(dev).ok()?);
    (is_null(&stat) && stat.st_dev == around.st_dev).then_some(null)
}

fn of_host() -> Result<OwnedFd> {
    let what = "open the host's /dev/null";
    let fd =
        rustix::fs::openat(CWD, "/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(what)?;
    if is_null(&rustix::fs::fstat(&fd).doing(what)?) {
        Ok(fd)
    } else {
        Err(Error::setup("/dev/null of the host is not the null device"))
    }
}

/// Opens a null device for standard streams, inside the container's root: its `/dev/null` if it is one, for the
/// container may have put anything there, else one that only this process sees.
pub(super) fn open() -> Result<OwnedFd> {
    // Not blocking, and never as a terminal: it is unknown until it is looked at.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let looked = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let is_one = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|stat| is_null(&stat));
    let found = rustix::fs::open("/dev/null", looked, Mode::empty()).ok().filter(is_one);
    let own = found.and_then(|_| rustix::fs::open("/dev/null", flags, Mode::empty()).ok()).filter(is_one);
    let fd = own.map_or_else(|| make(flags), Ok)?;
    rustix::fs::fcntl_setfl(&fd, OFlags::empty()).doing("open /dev/null")?;
    Ok(fd)
}

/// A null device on a file system of its own that is mounted nowhere.
fn make(flags: OFlags) -> Result<OwnedFd> {
    let what = "make a null device";
    // The directory and the device.
    let fs = mounts::file_system("tmpfs", "tmpfs", &["nr_inodes=2".to_owned()], 0)?;
    let mode = Mode::from_raw_mode(0o666);
    let device = rustix::fs::makedev(MAJOR, MINOR);
    rustix::fs::mknodat(&fs, "null", FileType::CharacterDevice, mode, device).doing(what)?;
    // The umask took a part of the mode.
    rustix::fs::chmodat(&fs, "null", mode, AtFlags::empty()).doing(what)?;
    rustix::fs::openat(&fs, "null", flags, Mode::empty()).doing(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn only_the_null_device_counts() {
        let stat = |path: &str| rustix::fs::stat(path).unwrap();
        assert!(is_null(&stat("/dev/null")));
        assert!(!is_null(&stat("/dev/zero")) && !is_null(&stat("/")));
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", directory.path().join("null")).unwrap();
        let dev = std::fs::File::open(directory.path()).unwrap();
        assert!(made_in(dev.as_fd()).is_none());
        assert!(for_mask(Some(dev.as_fd())).is_ok(), "the host's serves");
    }
}
