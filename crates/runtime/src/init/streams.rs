//! Standard streams as the container's own: none of them leads to a file of the host that the container may change.

use super::null;
use crate::error::{Doing, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Stat, Uid};
use rustix::io::Errno;
use wharf_oci::runtime_spec::Process;
use wharf_sys::process;

/// Replaces the host's `/dev/null` by the container's, whose mode and owner may change, and gives the streams that were
/// made for the process to its user, who may then open `/dev/stdout`. Called inside the container's root, while still
/// privileged.
pub fn settle(spec: &Process) -> Result<()> {
    let mut own: Option<OwnedFd> = None;
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (number, fd) in streams.into_iter().enumerate() {
        let what = || format!("look at standard stream {number}");
        let stat = match rustix::fs::fstat(fd) {
            Err(Errno::BADF) => continue,
            other => other.doing(what())?,
        };
        if null::is_null(&stat) {
            let null = match own.take() {
                Some(null) => null,
                None => null::open()?,
            };
            process::place_fd(null.as_fd(), number as i32).doing("place standard streams")?;
            own = Some(null);
        } else if is_to_give(fd, &stat, spec).doing(what())? {
            let uid = spec.user.uid;
            give(fd, uid).doing(format_args!("give standard stream {number} to user {uid}"))?;
        }
    }
    Ok(())
}

/// Pipes without a name and the process's own terminal. A file, a named pipe or a terminal of the caller's is not ours
/// to give away.
fn is_to_give(fd: BorrowedFd<'_>, stat: &Stat, spec: &Process) -> rustix::io::Result<bool> {
    const PIPEFS_MAGIC: i64 = 0x5049_5045;
    if stat.st_uid == spec.user.uid {
        return Ok(false);
    }
    Ok(spec.terminal || rustix::fs::fstatfs(fd)?.f_type as i64 == PIPEFS_MAGIC)
}

fn give(fd: BorrowedFd<'_>, uid: u32) -> rustix::io::Result<()> {
    match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None::<Gid>) {
        // A user that a user namespace does not know, or a mount that is read-only: it stays whose it is.
        Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
        other => other,
    }
}
