//! Writing a tree as a tar: sorted, so that the same content gives the same bytes.

use super::extract::Whiteouts;
use super::inside;
use super::walk::{Node, walk};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use wharf_model::idmap::IdMap;
use wharf_oci::tar::{Entry, Kind, TarError, Timestamp, Writer};

/// How finely times are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Whole seconds, as Docker's layers have them: ustar can say it, so most entries need one block.
    Seconds,
    /// All that the file system knows.
    Nanoseconds,
}

/// Turns nodes into entries, and remembers files with several names.
pub(crate) struct Archiver<'a, W: Write> {
    writer: Writer<W>,
    ids: Option<&'a IdMap>,
    whiteouts: Whiteouts,
    times: Times,
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Bytes of file content so far.
    pub(crate) size: u64,
}

impl<'a, W: Write> Archiver<'a, W> {
    pub(crate) fn new(out: W, whiteouts: Whiteouts, times: Times) -> Self {
        Self { writer: Writer::new(out), ids: None, whiteouts, times, linked: HashMap::new(), size: 0 }
    }

    /// Owners are written as the container numbers them.
    pub(crate) fn with_ids(mut self, ids: Option<&'a IdMap>) -> Self {
        self.ids = ids;
        self
    }

    /// Everything below a directory, each name after `prefix`.
    pub(crate) fn tree(&mut self, root: impl AsFd, prefix: &[u8]) -> io::Result<()> {
        walk(root, &mut |node| self.node(node, [prefix, node.path].concat()))
    }

    /// One name. Sockets are left out: a tar has no word for them, and nobody listens.
    pub(crate) fn node(&mut self, node: &Node<'_>, path: Vec<u8>) -> io::Result<()> {
        let overlay = self.whiteouts == Whiteouts::Overlay;
        if overlay && inside::is_whiteout(&node.stat) {
            let parent = path.len() - node.name.len();
            let name = [&path[..parent], b".wh.", node.name].concat();
            return self.writer.header(&Entry { mode: 0, ..Entry::new(Kind::File, name) }).map_err(io_error);
        }
        let Some(kind) = kind(&node.stat) else { return Ok(()) };
        let mut entry = self.entry(kind, path, node)?;
        let key = (node.stat.st_dev, node.stat.st_ino);
        if kind != Kind::Directory && node.stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&key) {
                let link =
                    Entry { kind: Kind::HardLink, link: first.clone(), size: 0, xattrs: vec![], ..entry };
                return self.writer.header(&link).map_err(io_error);
            }
            self.linked.insert(key, entry.path.clone());
        }
        match kind {
            Kind::Symlink => {
                entry.link = rustix::fs::readlinkat(node.dir, node.name, Vec::new())?.into_bytes();
                self.writer.header(&entry).map_err(io_error)
            }
            Kind::File => self.file(&entry, node),
            Kind::Directory => {
                self.writer.header(&entry).map_err(io_error)?;
                if overlay && inside::is_opaque(node.dir, node.name)? {
                    let mark = [&entry.path[..], b"/.wh..wh..opq"].concat();
                    self.writer
                        .header(&Entry { mode: 0, ..Entry::new(Kind::File, mark) })
                        .map_err(io_error)?;
                }
                Ok(())
            }
            _ => self.writer.header(&entry).map_err(io_error),
        }
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        self.writer.finish().map_err(io_error)
    }

    fn entry(&self, kind: Kind, path: Vec<u8>, node: &Node<'_>) -> io::Result<Entry> {
        let stat = &node.stat;
        let xattrs = match kind {
            Kind::File | Kind::Directory => inside::xattrs(node.dir, node.name)?,
            _ => Vec::new(),
        };
        let owner = (stat.st_uid, stat.st_gid);
        let (uid, gid) = self.ids.map_or(owner, |ids| ids.inside(owner));
        Ok(Entry {
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: self.time(stat),
            device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
            xattrs,
            ..Entry::new(kind, path)
        })
    }

    fn time(&self, stat: &Stat) -> Timestamp {
        let nanos = match self.times {
            Times::Seconds => 0,
            Times::Nanoseconds => u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        };
        Timestamp { seconds: stat.st_mtime, nanos }
    }

    fn file(&mut self, entry: &Entry, node: &Node<'_>) -> io::Result<()> {
        let mut file = open_file(node.dir, node.name)?;
        // The size at this moment: whoever writes meanwhile can neither break nor stretch the archive.
        let size = file.metadata()?.len();
        self.size += size;
        self.writer.header(&Entry { size, ..entry.clone() }).map_err(io_error)?;
        let mut content = (&mut file).take(size).chain(io::repeat(0));
        self.writer.content(size, &mut content).map_err(io_error)
    }
}

pub(crate) fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    // Not blocking: a pipe could stand there by now.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{:?} was replaced while it was read", String::from_utf8_lossy(name))))
    }
}

fn kind(stat: &Stat) -> Option<Kind> {
    Some(match inside::file_type(stat) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::Char,
        FileType::BlockDevice => Kind::Block,
        FileType::Fifo => Kind::Fifo,
        _ => return None,
    })
}

fn io_error(error: TarError) -> io::Error {
    match error {
        TarError::Io(e) => e,
        other => io::Error::other(other),
    }
}
