//! Working inside a root: every path is resolved by the kernel as if the root were `/`.
//!
//! See openat2(2), `RESOLVE_IN_ROOT`: absolute and relative links and `..` end at the root, links of /proc
//! lead nowhere.

use crate::disk::remove_all;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Links that may follow each other; the kernel's own bound (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Opens what is at `path` below `root`; links are followed, the last one too unless `flags` forbid it.
pub(crate) fn open(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename somewhere on the system disturbed the walk; it has to be tried again (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Opens a directory of the host as a root.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The components of an archive's or a user's path: `.` and empty ones left out, `..` applied to the text.
/// `None` when it leads above its start.
pub(crate) fn components(path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// The components of an absolute path, where `..` at the root stays there.
pub(crate) fn absolute(path: &Path) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.as_os_str().as_bytes().split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether it is overlayfs' mark of a removed file: a character device 0/0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// What is at a name of a directory, links not followed; `None` when nothing is.
pub(crate) fn stat(dir: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens a directory below `root`, made with its parents where it is not there. Links are followed inside the
/// root, also those to nowhere. With `through_whiteouts` a mark of a removed file makes way for a directory
/// that hides what was there before; anything else that is no directory is `ENOTDIR`.
pub(crate) fn make_dirs(
    root: BorrowedFd<'_>,
    path: &[&[u8]],
    through_whiteouts: bool,
) -> io::Result<OwnedFd> {
    let mut pending: Vec<Vec<u8>> = path.iter().rev().map(|p| p.to_vec()).collect();
    let mut stack: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    while let Some(name) = pending.pop() {
        match &name[..] {
            b"" | b"." => continue,
            b".." => {
                stack.pop();
                continue;
            }
            _ => {}
        }
        let dir = stack.last().map_or(root, AsFd::as_fd);
        let mut hides = false;
        match stat(dir, &name)? {
            Some(found) if file_type(&found) == FileType::Directory => {
                let next = rustix::fs::openat(dir, &name[..], flags, Mode::empty())?;
                stack.push(next);
                continue;
            }
            Some(found) if file_type(&found) == FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = rustix::fs::readlinkat(dir, &name[..], Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    stack.clear();
                }
                pending.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                continue;
            }
            Some(found) if through_whiteouts && is_whiteout(&found) => {
                remove(dir, &name)?;
                hides = true;
            }
            Some(_) => return Err(Errno::NOTDIR.into()),
            None => {}
        }
        rustix::fs::mkdirat(dir, &name[..], Mode::from_raw_mode(0o755))?;
        let next = rustix::fs::openat(dir, &name[..], flags, Mode::empty())?;
        // The process's umask has no say in it.
        rustix::fs::fchmod(&next, Mode::from_raw_mode(0o755))?;
        if hides {
            set_opaque(next.as_fd())?;
        }
        stack.push(next);
    }
    match stack.pop() {
        Some(dir) => Ok(dir),
        None => Ok(rustix::fs::openat(root, ".", flags, Mode::empty())?),
    }
}

/// The names in a directory, sorted by byte.
pub(crate) fn names(dir: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    // A descriptor of its own: the position in the directory belongs to the open file.
    let dir =
        rustix::fs::openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 1 << 15];
    let mut entries = RawDir::new(&dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(name.to_vec()),
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes whatever is at a name, a directory with all that is in it.
pub(crate) fn remove(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    let dir = dir.as_fd();
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => Ok(remove_all(&through_proc(dir, name))?),
        result => Ok(result?),
    }
}

/// A host path that leads to a name in an open directory, for calls that take no descriptor. The prefix is a
/// link of the kernel's to the very directory; the last component is what the call makes of it.
pub(crate) fn through_proc(dir: BorrowedFd<'_>, name: &[u8]) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(OsStr::from_bytes(name))
}

/// The extended attributes a tar carries: those of users, and file capabilities. Labels belong to the host,
/// overlay's own marks to the mount, ACLs name the host's users.
pub(crate) fn is_portable_xattr(name: &[u8]) -> bool {
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) || name == b"security.capability"
}

/// Names and values of extended attributes.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The portable extended attributes of a name, sorted.
pub(crate) fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Xattrs, Errno> {
    /// All names or one value: the kernel's bound (xattr(7)).
    const MAX: usize = 1 << 16;
    let path = through_proc(dir, name);
    let mut list = Vec::with_capacity(256);
    let mut result = rustix::fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut list));
    if result == Err(Errno::RANGE) {
        list.reserve(MAX);
        result = rustix::fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut list));
    }
    match result {
        Ok(_) => {}
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    }
    let mut found = Vec::new();
    for name in list.split_inclusive(|b| *b == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if is_portable_xattr(name.to_bytes()) {
            let mut value = Vec::with_capacity(MAX);
            match rustix::fs::lgetxattr(&path, name, rustix::buffer::spare_capacity(&mut value)) {
                Ok(_) => found.push((name.to_bytes().to_vec(), value)),
                // Removed since it was listed.
                Err(Errno::NODATA) => {}
                Err(e) => return Err(e),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Overlay's mark of a directory that hides those below it.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Whether a directory hides those below it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    let mut value = [0u8; 4];
    match rustix::fs::lgetxattr(through_proc(dir, name), OPAQUE, &mut value[..]) {
        Ok(n) => Ok(value[..n] == *b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Marks a directory so.
pub(crate) fn set_opaque(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fsetxattr(dir, OPAQUE, b"y", rustix::fs::XattrFlags::empty())
}
