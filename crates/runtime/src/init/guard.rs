//! Where mounts must not go: over the root, and into procfs, whose files tell the kernel what to do.

use super::mounts::open_in;
use crate::error::{Doing, Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Files of procfs that only inform, which LXCFS and the like replace.
const REPLACEABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Refuses to mount `made` at a place. A fake `/proc` would be believed by whatever writes to it later.
pub(super) fn check(
    root: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    made: BorrowedFd<'_>,
    destination: &str,
) -> Result<()> {
    let what = "look at the destination";
    let (top, at) = (rustix::fs::fstat(root).doing(what)?, rustix::fs::fstat(place).doing(what)?);
    if (top.st_dev, top.st_ino) == (at.st_dev, at.st_ino) {
        return Err(Error::setup("the mount point is the root itself"));
    }
    let clean = wharf_oci::path::clean(destination);
    let is_proc = |fd| rustix::fs::fstatfs(fd).map(|found| found.f_type == PROC_SUPER_MAGIC);
    let inside = is_proc(place).doing(what)?;
    if !inside && clean != "/proc" || REPLACEABLE.contains(&clean.as_str()) {
        return Ok(());
    }
    if clean == "/proc" && is_proc(made).doing(what)? {
        return Ok(());
    }
    Err(Error::setup(format!(
        "check proc-safety of {destination} mount: {clean:?} cannot be mounted because it is inside /proc"
    )))
}

/// Opens the place of a kernel file system: an ordinary directory, no link that the image put there.
pub(super) fn ordinary_directory(root: BorrowedFd<'_>, kind: &str, path: &str) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(Error::setup(format!(
                    "filesystem {kind:?} must be mounted on ordinary directory"
                )));
            }
            Err(Errno::NOENT) => {
                super::mounts::open_place(root, path, super::mounts::Place::Directory)
                    .doing("make the destination")?;
                return open_in(root, path, flags).doing("open the destination");
            }
            other => return other.doing("open the destination"),
        }
    }
}
