//! Putting a tar's entries into a root, whatever the archive tries.

use super::inside;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use wharf_model::idmap::IdMap;
use wharf_model::snapshots::WriteOptions;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::tar::{Entry, Kind, Reader, TarError, Timestamp};

/// Bytes of holes that all sparse files of an archive may have together. Holes cost no disk here, but
/// whoever copies the files without care writes them out.
pub(crate) const MAX_HOLES: u64 = 1 << 40;
/// Bytes copied at once.
const CHUNK: usize = 1 << 17;

pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
pub(crate) const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
pub(crate) const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// What `.wh.` names mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// Names like any other: `docker cp`, COPY, a volume.
    Plain,
    /// Removed files, turned into overlay's marks (OCI image specification, layer.md, "Whiteouts").
    Overlay,
}

/// An extraction in progress.
pub(crate) struct Extractor<'a> {
    root: BorrowedFd<'a>,
    /// Where in the root the archive's names begin.
    base: Vec<Vec<u8>>,
    whiteouts: Whiteouts,
    options: WriteOptions,
    ids: Option<IdMap>,
    /// An entry of the root itself counts.
    root_too: bool,
    /// The directory of the last entry: most entries are in the same one.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Times of directories, set at the end because what is put into them changes them.
    directories: Vec<(Vec<u8>, Timestamp)>,
    buffer: Vec<u8>,
    holes: u64,
    /// Bytes of file content so far.
    pub(crate) size: u64,
}

/// Extracts a whole archive; returns the bytes of file content.
pub(crate) fn extract<R: Read>(reader: &mut Reader<R>, extractor: &mut Extractor<'_>) -> Result<u64> {
    while let Some(entry) = reader.next_entry().map_err(|e| archive_error(e, "read the archive"))? {
        extractor.entry(&entry, reader)?;
    }
    extractor.finish()?;
    Ok(extractor.size)
}

/// An archive's own fault is the caller's, a failing stream is not.
pub(crate) fn archive_error(error: TarError, doing: &str) -> Error {
    match error {
        TarError::Io(e) => Error::wrap(ErrorKind::Internal, doing, e),
        other => Error::wrap(ErrorKind::Invalid, doing, other),
    }
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, whiteouts: Whiteouts) -> Self {
        Self {
            root,
            base: Vec::new(),
            whiteouts,
            options: WriteOptions::default(),
            ids: None,
            root_too: false,
            parent: None,
            directories: Vec::new(),
            buffer: vec![0; CHUNK],
            holes: 0,
            size: 0,
        }
    }

    /// Owners are the container's numbers, and become the host's.
    pub(crate) fn with_ids(mut self, ids: Option<IdMap>) -> Self {
        self.ids = ids;
        self
    }

    /// Below a directory of the root, with options.
    pub(crate) fn below(mut self, base: &[&[u8]], options: WriteOptions) -> Self {
        self.base = base.iter().map(|part| part.to_vec()).collect();
        self.options = options;
        self
    }

    /// The root gets the attributes of its entry, if there is one.
    pub(crate) fn with_root(mut self) -> Self {
        self.root_too = true;
        self
    }

    fn entry<R: Read>(&mut self, entry: &Entry, content: &mut Reader<R>) -> Result<()> {
        let parts =
            self.resolve(&entry.path).ok_or_else(|| outside(entry, "its name leads out of the archive"))?;
        let (name, parents) = match parts.split_last() {
            Some(last) if parts.len() > self.base.len() => last,
            _ => return self.root_entry(entry).map_err(|e| failed(entry, e)),
        };
        if self.whiteouts == Whiteouts::Overlay && name.starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(entry, parents, name);
        }
        let dir = self.open_parent(parents).map_err(|e| failed(entry, e))?;
        let result = match entry.kind {
            Kind::Directory => self.directory(entry, &dir, name, &parts),
            Kind::File => self.file(entry, &dir, name, content),
            Kind::HardLink => return self.hard_link(entry, dir, name, parents),
            Kind::Symlink => self.symlink(entry, &dir, name),
            Kind::Char | Kind::Block | Kind::Fifo => self.node(entry, &dir, name),
        };
        self.keep_parent(parents, dir);
        result.map_err(|e| failed(entry, e))
    }

    /// Sets the times of directories.
    fn finish(&mut self) -> Result<()> {
        for (path, time) in std::mem::take(&mut self.directories) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match inside::open(self.root, &path, flags) {
                Ok(dir) => rustix::fs::futimens(&dir, &times(time))
                    .map_err(|e| failed(&Entry::new(Kind::Directory, path), e.into()))?,
                // A later entry took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(failed(&Entry::new(Kind::Directory, path), e.into())),
            }
        }
        Ok(())
    }

    fn resolve(&self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let parts = inside::components(path)?;
        Some(self.base.iter().cloned().chain(parts.into_iter().map(<[u8]>::to_vec)).collect())
    }

    /// The directory an entry is put into, made with its parents when the archive does not have them.
    fn open_parent(&mut self, parents: &[Vec<u8>]) -> io::Result<OwnedFd> {
        let path = parents.join(&b'/');
        match self.parent.take() {
            Some((cached, dir)) if cached == path => return Ok(dir),
            _ => {}
        }
        match inside::open(self.root, &path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            result => return Ok(result?),
        }
        let parts: Vec<&[u8]> = parents.iter().map(Vec::as_slice).collect();
        inside::make_dirs(self.root, &parts, self.whiteouts == Whiteouts::Overlay)
    }

    fn keep_parent(&mut self, parents: &[Vec<u8>], dir: OwnedFd) {
        // `directory` may have put itself there, for the entries in it that come next.
        if self.parent.is_none() {
            self.parent = Some((parents.join(&b'/'), dir));
        }
    }

    /// An entry named `./`, the root itself. Mostly it stays as it is, as with Docker and containerd: a root packed with
    /// mode 0700 would shut out every user.
    fn root_entry(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Errno::ISDIR.into());
        }
        if !self.root_too {
            return Ok(());
        }
        let path = self.base.join(&b'/');
        let dir = inside::open(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.attributes(entry, dir.as_fd())?;
        self.directories.push((path, entry.mtime));
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8], parts: &[Vec<u8>]) -> io::Result<()> {
        let mut replaced = false;
        if let Err(e) = rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)) {
            let found = inside::stat(dir, name)?;
            match (e, found) {
                (Errno::EXIST, Some(found)) if inside::file_type(&found) == FileType::Directory => {}
                (Errno::EXIST, Some(_)) => {
                    self.make_room(dir, name, true)?;
                    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700))?;
                    replaced = true;
                }
                (e, _) => return Err(e.into()),
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        self.attributes(entry, made.as_fd())?;
        if replaced && self.whiteouts == Whiteouts::Overlay {
            inside::set_opaque(made.as_fd())?;
        }
        let path = parts.join(&b'/');
        self.directories.push((path.clone(), entry.mtime));
        self.parent = Some((path, made));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        dir: &OwnedFd,
        name: &[u8],
        content: &mut Reader<R>,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let made = match rustix::fs::openat(dir, name, flags, mode) {
            Err(Errno::EXIST) => {
                self.make_room(dir, name, false)?;
                rustix::fs::openat(dir, name, flags, mode)?
            }
            result => result?,
        };
        let mut file = File::from(made);
        match &entry.sparse {
            None => self.copy(content, &mut file, entry.size)?,
            Some(map) => {
                let stored: u64 = map.iter().map(|s| s.length).sum();
                self.holes += entry.size - stored;
                if self.holes > MAX_HOLES {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "sparse files with more than 1 TiB of holes",
                    ));
                }
                for segment in map {
                    file.seek(SeekFrom::Start(segment.offset))?;
                    self.copy(content, &mut file, segment.length)?;
                }
                file.set_len(entry.size)?;
            }
        }
        self.size += entry.size;
        self.attributes(entry, file.as_fd())?;
        Ok(rustix::fs::futimens(&file, &times(entry.mtime))?)
    }

    fn copy(&mut self, content: &mut dyn Read, file: &mut File, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let n = content.read(&mut self.buffer[..part])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }

    /// The target is a name in the same archive, so it is resolved as entries are; what it leads to is linked
    /// itself, never what a link there points to.
    fn hard_link(&mut self, entry: &Entry, dir: OwnedFd, name: &[u8], parents: &[Vec<u8>]) -> Result<()> {
        let target =
            self.resolve(&entry.link).ok_or_else(|| outside(entry, "its target leads out of the archive"))?;
        let Some((target_name, target_parents)) = target.split_last() else {
            return Err(outside(entry, "its target is the root"));
        };
        let absent = || outside(entry, "its target is not in the archive");
        let target_dir =
            match inside::open(self.root, &target_parents.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(absent()),
                result => result.map_err(|e| failed(entry, e.into()))?,
            };
        let found = inside::stat(&target_dir, target_name).map_err(|e| failed(entry, e.into()))?;
        let found = found.ok_or_else(absent)?;
        if inside::file_type(&found) == FileType::Directory {
            return Err(outside(entry, "its target is a directory"));
        }
        let result = (|| {
            let link = || rustix::fs::linkat(&target_dir, &target_name[..], &dir, name, AtFlags::empty());
            match link() {
                Err(Errno::EXIST) => {
                    let there = inside::stat(&dir, name)?;
                    if there.is_some_and(|s| (s.st_dev, s.st_ino) == (found.st_dev, found.st_ino)) {
                        return Ok(());
                    }
                    self.make_room(&dir, name, false)?;
                    Ok(link()?)
                }
                result => Ok(result?),
            }
        })();
        self.keep_parent(parents, dir);
        result.map_err(|e: io::Error| failed(entry, e))
    }

    fn symlink(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
        match rustix::fs::symlinkat(&entry.link[..], dir, name) {
            Err(Errno::EXIST) => {
                self.make_room(dir, name, false)?;
                rustix::fs::symlinkat(&entry.link[..], dir, name)?;
            }
            result => result?,
        }
        let (uid, gid) = self.owner(entry)?;
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(rustix::fs::utimensat(dir, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Devices are made as asked: they are inert until a container's device rules allow them.
    fn node(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let kind = match entry.kind {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let make = || rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device);
        match make() {
            Err(Errno::EXIST) => {
                self.make_room(dir, name, false)?;
                make()?;
            }
            result => result?,
        }
        let (uid, gid) = self.owner(entry)?;
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::chmodat(dir, name, self.mode(entry), AtFlags::empty())?;
        Ok(rustix::fs::utimensat(dir, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// `.wh.name` hides `name` of the layers below; `.wh..wh..opq` hides all of its directory.
    fn whiteout(&mut self, entry: &Entry, parents: &[Vec<u8>], name: &[u8]) -> Result<()> {
        if name != WHITEOUT_OPAQUE && name.starts_with(WHITEOUT_META_PREFIX) {
            // AUFS kept its own files in layers; they are no content.
            return Ok(());
        }
        let hidden = &name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(outside(entry, "it is a whiteout of no name"));
        }
        let dir = self.open_parent(parents).map_err(|e| failed(entry, e))?;
        let result = if name == WHITEOUT_OPAQUE {
            // The descriptor may be one that only names the directory.
            inside::open(&dir, b".", OFlags::RDONLY | OFlags::DIRECTORY)
                .and_then(|d| inside::set_opaque(d.as_fd()))
        } else {
            self.hide(&dir, hidden)
        };
        self.keep_parent(parents, dir);
        result.map_err(|e| failed(entry, e.into()))
    }

    fn hide(&self, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
            // This layer's own entry stays; a directory hides only what is below it.
            Err(Errno::EXIST) => {
                match inside::open(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
                    Ok(made) => inside::set_opaque(made.as_fd()),
                    Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    Err(e) => Err(e),
                }
            }
            result => result,
        }
    }

    /// Removes what is where an entry shall be, a directory with its content.
    fn make_room(&mut self, dir: &OwnedFd, name: &[u8], for_directory: bool) -> io::Result<()> {
        if self.options.keep_kinds
            && let Some(found) = inside::stat(dir, name)?
            && for_directory != (inside::file_type(&found) == FileType::Directory)
        {
            let text = if for_directory { "a file is there already" } else { "a directory is there already" };
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        inside::remove(dir, name)
    }

    fn owner(&self, entry: &Entry) -> io::Result<(Uid, Gid)> {
        let owner = self.options.owner.unwrap_or((entry.uid, entry.gid));
        let (uid, gid) = match &self.ids {
            // As the kernel answers inside of the namespace.
            Some(ids) => {
                ids.outside(owner).ok_or_else(|| io::Error::from_raw_os_error(Errno::INVAL.raw_os_error()))?
            }
            None => owner,
        };
        Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    fn mode(&self, entry: &Entry) -> Mode {
        Mode::from_raw_mode(self.options.mode.unwrap_or(entry.mode) & 0o7777)
    }

    /// Owner first: changing it takes setuid bits and capabilities away.
    fn attributes(&self, entry: &Entry, file: BorrowedFd<'_>) -> io::Result<()> {
        let (uid, gid) = self.owner(entry)?;
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
        rustix::fs::fchmod(file, self.mode(entry))?;
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| inside::is_portable_xattr(name)) {
            match rustix::fs::fsetxattr(file, &name[..], value, XattrFlags::empty()) {
                // A file system without user attributes still takes the files.
                Err(Errno::NOTSUP) if name.starts_with(b"user.") => {}
                result => result?,
            }
        }
        Ok(())
    }
}

fn times(time: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(crate) fn outside(entry: &Entry, why: &str) -> Error {
    Error::invalid(format!(
        "refuse the archive's entry {:?} (to {:?}): {why}",
        entry.name(),
        String::from_utf8_lossy(&entry.link)
    ))
}

pub(crate) fn failed(entry: &Entry, error: io::Error) -> Error {
    use rustix::io::Errno as E;
    let kind = match error.raw_os_error().map(E::from_raw_os_error) {
        Some(
            E::NAMETOOLONG
            | E::LOOP
            | E::NOTDIR
            | E::ISDIR
            | E::INVAL
            | E::NOENT
            | E::ILSEQ
            | E::OVERFLOW
            | E::FBIG,
        ) => ErrorKind::Invalid,
        Some(_) => ErrorKind::Internal,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Invalid,
            io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        },
    };
    Error::wrap(kind, format!("put the archive's entry {:?} in place", entry.name()), error)
}
