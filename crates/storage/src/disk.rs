//! Errors of the disk, with operation and path.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use wharf_model::{Error, ErrorKind};

/// `Internal`: what was tried on which path.
pub(crate) fn failed(operation: &str, path: &Path, source: impl Into<std::io::Error>) -> Error {
    let source = source.into();
    let mend = mend(&source);
    Error::wrap(ErrorKind::Internal, format!("{operation} {}{mend}", path.display()), source)
}

fn mend(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FULL,
        std::io::ErrorKind::ReadOnlyFilesystem => " (the file system is mounted read-only)",
        _ => "",
    }
}

/// Inodes may be what there is none of.
pub(crate) const FULL: &str = " (free some space on the disk that holds it)";

/// The same for a writer, whose errors have no kind of ours.
pub(crate) fn located(operation: &str, path: &Path, error: std::io::Error) -> std::io::Error {
    let text = format!("{operation} {}{}: {error}", path.display(), mend(&error));
    std::io::Error::new(error.kind(), text)
}

/// Says where the disk is full when that is why something below `path` failed.
pub(crate) fn below(path: &Path) -> impl FnOnce(Error) -> Error {
    move |error| {
        let source = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<std::io::Error>());
        match source.map(mend) {
            Some(FULL) => {
                Error::wrap(ErrorKind::Internal, format!("write below {}{FULL}", path.display()), error)
            }
            _ => error,
        }
    }
}

/// Makes a directory with its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|e| failed("make directory", path, e))
}

/// Makes the entries of a directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    let dir = File::open(path).map_err(|e| failed("open directory", path, e))?;
    dir.sync_all().map_err(|e| failed("sync directory", path, e))
}

/// Gives an open file that never changes another name; on another file system a copy of it.
pub(crate) fn link_or_copy(file: &File, to: &Path) -> Result<(), Error> {
    let from = Path::new("/proc/self/fd").join(file.as_raw_fd().to_string());
    let here = rustix::fs::CWD;
    match rustix::fs::linkat(here, &from, here, to, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(()),
        // A file without a name cannot be given one by this way either.
        Err(Errno::XDEV | Errno::NOENT) => copy(&from, to),
        Err(e) => Err(failed("link", to, e)),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let copied = (|| {
        let mut source = File::open(from)?;
        let mut target = File::options().write(true).create_new(true).mode(0o600).open(to)?;
        std::io::copy(&mut source, &mut target)
    })();
    copied.map(drop).map_err(|e| failed("copy to", to, e))
}

/// Removes a tree; nothing happens if it is absent.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    remove_all(path).map_err(|e| failed("remove directory", path, e))
}

/// Removes a tree; nothing happens if it is absent. Its depth is its maker's choice, so a directory below is moved
/// up instead of descended into: descriptors and stack stay the same for any tree.
pub(crate) fn remove_all(path: &Path) -> rustix::io::Result<()> {
    let top = match open_directory(rustix::fs::CWD, path) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e),
    };
    flatten(&top)?;
    or_gone(rustix::fs::rmdir(path))
}

/// Somebody else who removes the same is no failure.
fn or_gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

fn open_directory(at: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// Empties `top`. Directories found below are moved into it under a number, until none is left.
fn flatten(top: &OwnedFd) -> rustix::io::Result<()> {
    let mut waiting = Vec::new();
    clear(top, |name| {
        waiting.push(name.to_owned());
        Ok(())
    })?;
    let mut moved = 0;
    while let Some(name) = waiting.pop() {
        let directory = match open_directory(top, name.as_c_str()) {
            Err(Errno::NOENT) => continue,
            directory => directory?,
        };
        clear(&directory, |below| {
            waiting.push(move_up(&directory, below, top, &mut moved)?);
            Ok(())
        })?;
        or_gone(rustix::fs::unlinkat(top, name.as_c_str(), AtFlags::REMOVEDIR))?;
    }
    Ok(())
}

fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> rustix::io::Result<CString> {
    loop {
        let number = CString::new(format!("removed.{moved}")).unwrap_or_default();
        *moved += 1;
        match rustix::fs::renameat_with(from, name, top, &number, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(number),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Removes the files and empty directories in `directory`, and gives every other directory to `take`.
fn clear(
    directory: &OwnedFd,
    mut take: impl FnMut(&CStr) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(e),
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => take(name)?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mkdirat, openat};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_of_another_file_system_is_copied() {
        let (here, there) =
            (tempfile::tempdir_in("/var/tmp").unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        for (from, links) in [(&here, 2), (&there, 1)] {
            let source = from.path().join("source");
            std::fs::write(&source, "content").unwrap();
            let target = here.path().join(format!("target{links}"));
            link_or_copy(&File::open(&source).unwrap(), &target).unwrap();
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "content");
            let is_shared = here.path().metadata().unwrap().dev() == from.path().metadata().unwrap().dev();
            assert_eq!(target.metadata().unwrap().nlink(), if is_shared { 2 } else { links });
            assert!(link_or_copy(&File::open(&source).unwrap(), &target).is_err(), "what is there stays");
        }
    }

    #[test]
    fn a_tree_of_any_depth_goes() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("top");
        std::fs::create_dir_all(top.join("wide/a/b")).unwrap();
        std::fs::write(top.join("wide/a/file"), "1").unwrap();
        std::fs::create_dir(top.join("removed.0")).unwrap();
        std::os::unix::fs::symlink(root.path(), top.join("wide/link")).unwrap();
        // Deeper than there may be descriptors, and than a path may be long.
        let mut at = rustix::fs::open(&top, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5000 {
            mkdirat(&at, "deep", Mode::from_raw_mode(0o700)).unwrap();
            at = openat(&at, "deep", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        remove_tree(&top).unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        remove_tree(&top).unwrap();
    }
}
