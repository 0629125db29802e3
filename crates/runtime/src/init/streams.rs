//! Standard streams as the container's own: none of them leads to a file of the host that the container may change.

use super::mounts;
use crate::error::{Doing, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, major, makedev, minor};
use rustix::io::Errno;
use wharf_sys::process;

/// Replaces the host's `/dev/null` by the container's, whose mode and owner may change, and gives pipes and terminals
/// to the user, who may then open `/dev/stdout`. Called inside the container's root, while still privileged.
pub fn settle(uid: u32) -> Result<()> {
    let mut null = None;
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (number, fd) in streams.into_iter().enumerate() {
        let what = || format!("look at standard stream {number}");
        let stat = match rustix::fs::fstat(fd) {
            Err(Errno::BADF) => continue,
            other => other.doing(what())?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && is_null(stat.st_rdev) {
            if null.is_none() {
                null = Some(own_null().doing("open the container's null device")?);
            }
            if let Some(null) = &null {
                process::place_fd(null.as_fd(), number as i32).doing("place standard streams")?;
            }
        } else if stat.st_uid != uid && (kind == FileType::Fifo || is_terminal(kind, stat.st_rdev)) {
            give(fd, uid).doing(format_args!("give standard stream {number} to user {uid}"))?;
        }
    }
    Ok(())
}

fn is_null(device: u64) -> bool {
    (major(device), minor(device)) == (1, 3)
}

/// Pseudo-terminals have the majors 136 to 143.
fn is_terminal(kind: FileType, device: u64) -> bool {
    kind == FileType::CharacterDevice && (136..=143).contains(&major(device))
}

fn give(fd: BorrowedFd<'_>, uid: u32) -> rustix::io::Result<()> {
    match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None::<Gid>) {
        // A user that a user namespace does not know, or a mount that is read-only: it stays whose it is.
        Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
        other => other,
    }
}

/// `/dev/null` of the container if it is one: the container may have put anything there. Else a node of our own on a
/// file system that nobody sees.
fn own_null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let plain = |fd: OwnedFd| rustix::fs::fcntl_setfl(&fd, OFlags::empty()).map(|()| fd);
    if let Ok(fd) =
        rustix::fs::open("/dev/null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        && rustix::fs::fstat(&fd).is_ok_and(|s| {
            FileType::from_raw_mode(s.st_mode) == FileType::CharacterDevice && is_null(s.st_rdev)
        })
        && let Ok(fd) = rustix::fs::open("/dev/null", flags, Mode::empty())
        && rustix::fs::fstat(&fd).is_ok_and(|s| is_null(s.st_rdev))
    {
        return plain(fd).doing("open /dev/null");
    }
    let what = "make a null device";
    let base = mounts::file_system("tmpfs", "tmpfs", &["size=4k".to_owned(), "nr_inodes=3".to_owned()], 0)?;
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(&base, "null", FileType::CharacterDevice, mode, makedev(1, 3)).doing(what)?;
    rustix::fs::openat(&base, "null", flags, Mode::empty()).and_then(plain).doing(what)
}
