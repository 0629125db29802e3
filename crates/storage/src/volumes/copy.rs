//! Copying a tree: sharing the disk's blocks where the file system can (ioctl_ficlone(2)), else holes as holes.

use crate::snapshots::archive::open_file;
use crate::snapshots::inside;
use crate::snapshots::walk::{Node, walk};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

/// Copies everything below `from`, and its own attributes, to `to`, which nobody else changes meanwhile. Sockets are
/// left out: nobody listens.
pub(super) fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut copy = Copy { to, parent: None, linked: HashMap::new(), directories: Vec::new() };
    walk(from, &mut |node| copy.node(node))?;
    let stat = rustix::fs::fstat(from)?;
    let root = inside::open(to, b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    attributes(root.as_fd(), &stat, from, b".")?;
    // Times of directories change with what is put into them, so they come last.
    for (path, times) in &copy.directories {
        let dir = inside::open(to, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        rustix::fs::futimens(&dir, times)?;
    }
    Ok(rustix::fs::futimens(&root, &times(&stat))?)
}

struct Copy<'a> {
    to: BorrowedFd<'a>,
    /// The directory of the last name: most names are in the same one.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Where a file with several names was put first.
    linked: HashMap<(u64, u64), Vec<u8>>,
    directories: Vec<(Vec<u8>, Timestamps)>,
}

impl Copy<'_> {
    fn node(&mut self, node: &Node<'_>) -> io::Result<()> {
        let parent = parent_of(node.path);
        let dir = match self.parent.take() {
            Some((path, dir)) if path == parent => dir,
            _ => inside::open(self.to, parent, OFlags::RDONLY | OFlags::DIRECTORY)?,
        };
        let result = self.put(node, &dir);
        self.parent = Some((parent.to_vec(), dir));
        match result {
            // Nobody changes the copy: it is the original that somebody has removed or replaced meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound || !is_still(node) => self.leave_out(node),
            result => result,
        }
    }

    /// What of a file was copied before it vanished. A directory stays: the walk finds out about its content.
    fn leave_out(&self, node: &Node<'_>) -> io::Result<()> {
        let Some((_, dir)) = self.parent.as_ref().filter(|_| !node.is_directory()) else { return Ok(()) };
        match rustix::fs::unlinkat(dir, node.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn put(&mut self, node: &Node<'_>, dir: &OwnedFd) -> io::Result<()> {
        let kind = inside::file_type(&node.stat);
        let key = (node.stat.st_dev, node.stat.st_ino);
        let linked = kind != FileType::Directory && kind != FileType::Socket && node.stat.st_nlink > 1;
        if let Some(first) = self.linked.get(&key).filter(|_| linked) {
            let first_dir = inside::open(self.to, parent_of(first), OFlags::RDONLY | OFlags::DIRECTORY)?;
            let name = &first[first.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1)..];
            return Ok(rustix::fs::linkat(&first_dir, name, dir, node.name, AtFlags::empty())?);
        }
        self.make(kind, node, dir)?;
        if linked {
            self.linked.insert(key, node.path.to_vec());
        }
        Ok(())
    }

    fn make(&mut self, kind: FileType, node: &Node<'_>, dir: &OwnedFd) -> io::Result<()> {
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(dir, node.name, Mode::from_raw_mode(0o700))?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(dir, node.name, flags, Mode::empty())?;
                attributes(made.as_fd(), &node.stat, node.dir, node.name)?;
                self.directories.push((node.path.to_vec(), times(&node.stat)));
                Ok(())
            }
            FileType::RegularFile => file(node, dir),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(node.dir, node.name, Vec::new())?;
                rustix::fs::symlinkat(&*target, dir, node.name)?;
                named(node, dir)
            }
            FileType::Socket | FileType::Unknown => Ok(()),
            other => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(dir, node.name, other, mode, node.stat.st_rdev)?;
                named(node, dir)?;
                Ok(rustix::fs::chmodat(dir, node.name, permissions(&node.stat), AtFlags::empty())?)
            }
        }
    }
}

/// Whether the name stands for what it did when the walk came by.
fn is_still(node: &Node<'_>) -> bool {
    let same = |stat: Stat| (stat.st_dev, stat.st_ino) == (node.stat.st_dev, node.stat.st_ino);
    inside::stat(node.dir, node.name).is_ok_and(|stat| stat.is_some_and(same))
}

fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(&[], |at| &path[..at])
}

fn permissions(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time =
        |seconds, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or_default() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Owner and times of what cannot be opened.
fn named(node: &Node<'_>, dir: &OwnedFd) -> io::Result<()> {
    let (uid, gid) = owner(&node.stat);
    rustix::fs::chownat(dir, node.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::utimensat(dir, node.name, &times(&node.stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The owner first: a change of it takes set-user-id bits and capabilities away.
fn attributes(made: BorrowedFd<'_>, stat: &Stat, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(made, uid, gid)?;
    for (name, value) in inside::xattrs(dir, name)? {
        rustix::fs::fsetxattr(made, &name[..], &value, XattrFlags::empty())?;
    }
    Ok(rustix::fs::fchmod(made, permissions(stat))?)
}

fn file(node: &Node<'_>, dir: &OwnedFd) -> io::Result<()> {
    let source = open_file(node.dir, node.name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = File::from(rustix::fs::openat(dir, node.name, flags, Mode::from_raw_mode(0o600))?);
    if rustix::fs::ioctl_ficlone(&made, &source).is_err() {
        content(&source, &made)?;
    }
    attributes(made.as_fd(), &node.stat, node.dir, node.name)?;
    Ok(rustix::fs::futimens(&made, &times(&node.stat))?)
}

/// Only what is no hole. Who writes meanwhile neither breaks nor stretches the copy.
fn content(source: &File, made: &File) -> io::Result<()> {
    let size = source.metadata()?.len();
    made.set_len(size)?;
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(()),
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::NOTSUP) => at,
            Err(e) => return Err(e.into()),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(data)).unwrap_or(size).min(size);
        if end <= data {
            return Ok(());
        }
        rustix::fs::seek(source, SeekFrom::Start(data))?;
        rustix::fs::seek(made, SeekFrom::Start(data))?;
        let mut target = made;
        let copied = io::copy(&mut { source }.take(end - data), &mut target)?;
        if copied == 0 {
            return Ok(());
        }
        at = data + copied;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt, symlink};

    fn opened(path: &std::path::Path) -> OwnedFd {
        inside::open_root(path).unwrap()
    }

    #[test]
    fn a_copy_is_the_same_and_no_larger() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("sub/empty")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("sub/a"), "text").unwrap();
        std::fs::hard_link(from.join("sub/a"), from.join("b")).unwrap();
        symlink("/etc/shadow", from.join("link")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"middle", 5 << 20).unwrap();
        sparse.set_len(20 << 20).unwrap();
        rustix::fs::setxattr(from.join("b"), "user.word", b"value", XattrFlags::empty()).unwrap();
        rustix::fs::chmod(from.join("sub"), Mode::from_raw_mode(0o2751)).unwrap();
        rustix::fs::chmod(&from, Mode::from_raw_mode(0o1777)).unwrap();

        tree(opened(&from).as_fd(), opened(&to).as_fd()).unwrap();
        let meta = |path: std::path::PathBuf| std::fs::symlink_metadata(path).unwrap();
        for name in ["", "sub", "sub/empty", "sub/a", "b", "link", "sparse"] {
            let (a, b) = (meta(from.join(name)), meta(to.join(name)));
            assert_eq!(
                (a.mode(), a.uid(), a.size() * u64::from(!a.is_dir())),
                (b.mode(), b.uid(), b.size() * u64::from(!b.is_dir())),
                "{name}"
            );
            assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()), "{name}");
        }
        assert_eq!(meta(to.join("b")).ino(), meta(to.join("sub/a")).ino());
        assert_ne!(meta(to.join("b")).ino(), meta(from.join("b")).ino());
        assert!(meta(to.join("sparse")).blocks() <= meta(from.join("sparse")).blocks() + 8);
        assert_eq!(std::fs::read(to.join("sparse")).unwrap(), std::fs::read(from.join("sparse")).unwrap());
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(to.join("b"), "user.word", &mut value[..]), Ok(5));
    }

    /// As by a program that works in the volume meanwhile.
    #[test]
    fn what_vanishes_is_left_out() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("stays"), "text").unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for number in 0..20 {
                        let sub = from.join(format!("d{number}"));
                        std::fs::create_dir(&sub).unwrap();
                        std::fs::write(sub.join("a"), "a").unwrap();
                        std::fs::hard_link(sub.join("a"), sub.join("b")).unwrap();
                        symlink("a", from.join(format!("l{number}"))).unwrap();
                    }
                    for number in 0..20 {
                        std::fs::remove_dir_all(from.join(format!("d{number}"))).unwrap();
                        std::fs::remove_file(from.join(format!("l{number}"))).unwrap();
                    }
                }
            });
            let copies = (0..50).map(|_| {
                std::fs::create_dir(&to)?;
                tree(opened(&from).as_fd(), opened(&to).as_fd())?;
                let text = std::fs::read(to.join("stays"))?;
                std::fs::remove_dir_all(&to).map(|()| text)
            });
            let copies: io::Result<Vec<_>> = copies.collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(copies.unwrap().iter().all(|text| text == b"text"));
        });
    }
}
