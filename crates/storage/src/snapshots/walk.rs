//! Walking a tree without ever following a link: what a running container swaps meanwhile leads nowhere.

use super::inside;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::io;

/// Directories that may be nested: each holds a descriptor open. No path that the kernel takes in one call
/// is deeper.
const MAX_DEPTH: usize = 2048;

/// A name met on the way.
pub(crate) struct Node<'a> {
    /// The directory it is in.
    pub(crate) dir: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a [u8],
    /// Its path from where the walk began, without a leading slash.
    pub(crate) path: &'a [u8],
    /// What it is.
    pub(crate) stat: Stat,
}

impl Node<'_> {
    pub(crate) fn is_directory(&self) -> bool {
        inside::file_type(&self.stat) == FileType::Directory
    }
}

/// Visits everything below a directory, a directory before its content, names in order of their bytes. What
/// vanishes during the walk is left out, and so is what the kernel shows and no disk holds: see [`is_kernels`].
pub(crate) fn walk(root: impl AsFd, visit: &mut dyn FnMut(&Node<'_>) -> io::Result<()>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    let mut stack: Vec<(OwnedFd, u64, std::vec::IntoIter<Vec<u8>>)> = vec![];
    let names = if is_kernels(&root)? { Vec::new() } else { inside::names(&root)? };
    let device = rustix::fs::fstat(&root)?.st_dev;
    stack.push((root, device, names.into_iter()));
    let mut path: Vec<u8> = Vec::new();
    while let Some((dir, device, names)) = stack.last_mut() {
        let device = *device;
        let Some(name) = names.next() else {
            stack.pop();
            let parent = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
            path.truncate(parent);
            continue;
        };
        let Some(stat) = inside::stat(&*dir, &name)? else { continue };
        let parent = path.len();
        if parent > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&name);
        let node = Node { dir: dir.as_fd(), name: &name, path: &path, stat };
        visit(&node)?;
        let opened = match node.is_directory() {
            true => rustix::fs::openat(&*dir, &name[..], flags, Mode::empty()),
            false => Err(Errno::NOTDIR),
        };
        match opened {
            Ok(_) if stack.len() >= MAX_DEPTH => {
                let text = format!("directories are nested more than {MAX_DEPTH} deep");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            Ok(below) => {
                let names = match inside::names(&below) {
                    // It was removed after it was opened.
                    Err(Errno::NOENT) => Vec::new(),
                    _ if stat.st_dev != device && is_kernels(&below)? => Vec::new(),
                    names => names?,
                };
                stack.push((below, stat.st_dev, names.into_iter()));
            }
            Err(Errno::NOTDIR | Errno::NOENT | Errno::LOOP) => path.truncate(parent),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Whether a directory is of one of the kernel's own file systems, or is the `/dev` of a container: a running container
/// has them mounted, its files do not contain them.
fn is_kernels(dir: &OwnedFd) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(dir)?.f_type as u64;
    if KERNELS.contains(&kind) {
        return Ok(true);
    }
    let null = |stat: Stat| {
        inside::file_type(&stat) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3)
    };
    Ok(kind == TMPFS && inside::stat(dir, b"null")?.is_some_and(null))
}

/// `TMPFS_MAGIC`, statfs(2).
const TMPFS: u64 = 0x0102_1994;
/// The magic numbers of statfs(2) of proc, sysfs, cgroup, cgroup2, devpts and mqueue.
const KERNELS: [u64; 6] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202];

/// Bytes of the files and links below a directory, as long as they say they are (holes count, as with Docker); a file
/// with several names counts once.
pub(crate) fn size(root: impl AsFd) -> io::Result<u64> {
    let mut linked = std::collections::HashSet::new();
    let mut total = 0;
    walk(root, &mut |node| {
        if matches!(inside::file_type(&node.stat), FileType::RegularFile | FileType::Symlink)
            && (node.stat.st_nlink == 1 || linked.insert((node.stat.st_dev, node.stat.st_ino)))
        {
            total += u64::try_from(node.stat.st_size).unwrap_or_default();
        }
        Ok(())
    })?;
    Ok(total)
}
