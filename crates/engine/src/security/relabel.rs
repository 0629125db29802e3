//! Gives the files of a mount their SELinux label (`:z`, `:Z`).

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wharf_model::security::{Relabel, file_label};
use wharf_model::{Error, Result};

const ATTRIBUTE: &str = "security.selinux";
/// Longer than any label that a policy has.
const LONGEST_LABEL: usize = 4096;

/// What is the host's own: with the labels of containers the host works no more.
const NEVER: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// Gives a path and all below it the label that a container with this mount label gets at. Blocks.
///
/// # Errors
/// For a directory that is the host's own, and what the file system says. One without labels is left as it is.
pub fn relabel(path: &Path, mount_label: &str, how: Relabel) -> Result<()> {
    let failed = |why: String| {
        Error::internal(format!("error setting label on mount source '{}': {why}", path.display()))
    };
    let real = std::fs::canonicalize(path).map_err(|e| failed(e.to_string()))?;
    if is_the_hosts(&real) {
        return Err(failed(format!("SELinux relabeling of {} is not allowed", real.display())));
    }
    let label = file_label(mount_label, how)?;
    match label_tree(&real, label.as_bytes()) {
        // As Docker: NFS and the like.
        Err((_, Errno::NOTSUP)) | Ok(()) => Ok(()),
        Err((at, e)) => Err(failed(format!("{}: {e}", at.display()))),
    }
}

/// The same for a directory of the engine's own, whose label tells whether it is done.
///
/// # Errors
/// What the file system says.
pub(super) fn once(path: &Path, label: &str) -> Result<()> {
    if has(path, label.as_bytes(), true) {
        return Ok(());
    }
    match label_tree(path, label.as_bytes()) {
        Err((_, Errno::NOTSUP)) | Ok(()) => Ok(()),
        Err((at, e)) => Err(Error::internal(format!("set the SELinux label of {}: {e}", at.display()))),
    }
}

fn is_the_hosts(path: &Path) -> bool {
    let home = std::env::var_os("HOME").is_some_and(|home| path == Path::new(&home));
    home || NEVER.iter().any(|never| path == Path::new(never))
}

/// A container may change the tree meanwhile: nothing is followed out of it.
fn label_tree(root: &Path, label: &[u8]) -> Result<(), (PathBuf, Errno)> {
    let at = |e| (root.to_owned(), e);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, flags, Mode::empty()).map_err(at)?;
    let stat = rustix::fs::fstat(&top).map_err(at)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        // By their paths, each opened in its turn: descriptors are few, and trees may be deep.
        let mut waiting = vec![PathBuf::from(".")];
        while let Some(below) = waiting.pop() {
            match label_entries(top.as_fd(), &below, label, &mut waiting) {
                // Removed or replaced meanwhile.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) | Ok(()) => {}
                Err(e) => return Err((root.join(below), e)),
            }
        }
    }
    // Last: one that has its label is taken for done by others.
    set(&of(top.as_fd(), None), label, true).map_err(at)
}

fn label_entries(
    top: BorrowedFd<'_>,
    below: &Path,
    label: &[u8],
    waiting: &mut Vec<PathBuf>,
) -> rustix::io::Result<()> {
    let directory = open_below(top, below)?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let name = OsStr::from_bytes(name);
        let kind = match entry.file_type() {
            FileType::Unknown => kind_of(directory.as_fd(), name)?,
            kind => kind,
        };
        match set(&of(directory.as_fd(), Some(name)), label, false) {
            Err(Errno::NOENT) | Ok(()) => {}
            Err(e) => return Err(e),
        }
        if kind == FileType::Directory {
            waiting.push(below.join(name));
        }
    }
    Ok(())
}

fn open_below(top: BorrowedFd<'_>, below: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        // EAGAIN: somebody renamed something on the way, ask again.
        match rustix::fs::openat2(top, below, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

fn kind_of(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<FileType> {
    let stat = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// The path of what a descriptor shows, or of an entry in it, that nobody can replace on the way.
fn of(fd: BorrowedFd<'_>, name: Option<&OsStr>) -> PathBuf {
    let path = Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string());
    name.map_or(path.clone(), |name| path.join(name))
}

/// Sets the label where it is another. `follow` is for the kernel's own link to a descriptor.
fn set(path: &Path, label: &[u8], follow: bool) -> rustix::io::Result<()> {
    if has(path, label, follow) {
        return Ok(());
    }
    match follow {
        true => rustix::fs::setxattr(path, ATTRIBUTE, label, XattrFlags::empty()),
        false => rustix::fs::lsetxattr(path, ATTRIBUTE, label, XattrFlags::empty()),
    }
}

fn has(path: &Path, label: &[u8], follow: bool) -> bool {
    let mut buffer = [0u8; LONGEST_LABEL];
    let known = match follow {
        true => rustix::fs::getxattr(path, ATTRIBUTE, &mut buffer),
        false => rustix::fs::lgetxattr(path, ATTRIBUTE, &mut buffer),
    };
    known.is_ok_and(|n| buffer[..n].strip_suffix(b"\0").unwrap_or(&buffer[..n]) == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_directories_are_refused() {
        for path in ["/usr", "/etc", "/", "/var/lib", "/usr/../etc"] {
            let error = relabel(Path::new(path), "u:object_r:t:s0:c1,c2", Relabel::Shared).unwrap_err();
            assert!(error.to_string().contains("is not allowed"), "{path}: {error}");
        }
    }

    /// Where no policy is loaded the attribute is one of many: root may set it.
    #[test]
    fn a_whole_tree_is_labelled_and_nothing_beside_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let (tree, beside) = (base.path().join("tree"), base.path().join("beside"));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/file"), "").unwrap();
        std::fs::write(&beside, "").unwrap();
        std::os::unix::fs::symlink(&beside, tree.join("link")).unwrap();
        std::os::unix::fs::symlink(base.path(), tree.join("up")).unwrap();
        let label = |path: &Path| {
            let mut buffer = [0u8; LONGEST_LABEL];
            let n = rustix::fs::lgetxattr(path, ATTRIBUTE, &mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..n]).trim_end_matches('\0').to_owned())
        };
        let before = label(&beside);
        relabel(&tree, "u:object_r:t:s0:c1,c2", Relabel::Shared).unwrap();
        if label(&tree).is_none() {
            eprintln!("skipped: the file system keeps no labels");
            return;
        }
        for path in ["", "a", "a/b", "a/b/file", "link", "up"] {
            assert_eq!(label(&tree.join(path)).as_deref(), Some("u:object_r:t:s0"), "{path}");
        }
        assert_eq!(label(&beside), before);
        relabel(&tree, "u:object_r:t:s0:c1,c2", Relabel::Private).unwrap();
        assert_eq!(label(&tree.join("a/b/file")).as_deref(), Some("u:object_r:t:s0:c1,c2"));
    }
}
