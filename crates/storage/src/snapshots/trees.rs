//! Reading and writing files of whole trees: `docker cp`, COPY, volumes.

use super::archive::{Archiver, Times};
use super::extract::{Extractor, Whiteouts, extract};
use super::inside;
use super::walk::Node;
use crate::disk::failed;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use wharf_model::idmap::IdMap;
use wharf_model::snapshots::{PathStat, WriteOptions, skeleton};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::tar::Reader;

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&b'/')
}

fn absent(path: &Path) -> Error {
    Error::not_found(format!("could not find the file {} in the tree", path.display()))
}

/// Links that go in circles lead nowhere, like those to nothing.
fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, shown: &Path) -> Result<Option<OwnedFd>> {
    match inside::open(root, path, flags) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(Errno::NAMETOOLONG | Errno::INVAL) => {
            Err(Error::invalid(format!("no path: {}", shown.display())))
        }
        Err(e) => Err(failed("open in the tree", shown, e)),
    }
}

/// Whether a path means a directory, also where a link leads to it: `dir/`, `dir/.`.
fn means_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

pub(super) fn stat(root: BorrowedFd<'_>, path: &Path, follow: bool) -> Result<Option<PathStat>> {
    let flags = match means_directory(path) {
        true => OFlags::PATH | OFlags::DIRECTORY,
        false if follow => OFlags::PATH,
        false => OFlags::PATH | OFlags::NOFOLLOW,
    };
    let Some(found) = open(root, &joined(&inside::absolute(path)), flags, path)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&found).map_err(|e| failed("stat in the tree", path, e))?;
    let link = match inside::file_type(&stat) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&found, "", Vec::new());
            let target = target.map_err(|e| failed("read the link", path, e))?;
            Some(OsString::from_vec(target.into_bytes()).into())
        }
        _ => None,
    };
    Ok(Some(PathStat {
        mode: stat.st_mode,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        link,
    }))
}

pub(super) fn remove_stub(root: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    let parts = inside::absolute(path);
    let Some((name, parents)) = parts.split_last() else { return Ok(false) };
    if skeleton::contains(&String::from_utf8_lossy(&joined(&parts))) {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Some(parent) = open(root, &joined(parents), flags, path)? else { return Ok(false) };
    let found = inside::stat(&parent, name).map_err(|e| failed("stat in the tree", path, e))?;
    let flags = match found {
        Some(stat) if inside::file_type(&stat) == FileType::Directory => AtFlags::REMOVEDIR,
        Some(stat) if inside::file_type(&stat) == FileType::RegularFile && stat.st_size == 0 => {
            AtFlags::empty()
        }
        _ => return Ok(false),
    };
    match rustix::fs::unlinkat(&parent, *name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(false),
        Err(e) => Err(failed("remove in the tree", path, e)),
    }
}

pub(super) fn read_file(root: BorrowedFd<'_>, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    // Not blocking: a fifo at the path must not hold us up before its type is seen.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let Some(found) = open(root, &joined(&inside::absolute(path)), flags, path)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&found).map_err(|e| failed("stat in the tree", path, e))?;
    if inside::file_type(&stat) != FileType::RegularFile {
        return Ok(None);
    }
    let mut content = Vec::new();
    let read = std::fs::File::from(found).take(limit).read_to_end(&mut content);
    read.map_err(|e| Error::wrap(ErrorKind::Internal, format!("read {}", path.display()), e))?;
    Ok(Some(content))
}

pub(super) fn read_tar(
    root: BorrowedFd<'_>,
    path: &Path,
    called: Option<&str>,
    out: &mut dyn Write,
    ids: Option<&IdMap>,
) -> Result<()> {
    let parts = inside::absolute(path);
    let unreadable =
        |e: io::Error| Error::wrap(ErrorKind::Internal, format!("archive {}", path.display()), e);
    let mut archiver = Archiver::new(out, Whiteouts::Plain, Times::Nanoseconds).with_ids(ids);
    let (parent, name, shown) = match parts.split_last() {
        Some((name, _)) if means_directory(path) => (joined(&parts), &b"."[..], *name),
        Some((name, parents)) => (joined(parents), *name, *name),
        None => (Vec::new(), &b"."[..], &b"."[..]),
    };
    let Some(dir) = open(root, &parent, OFlags::RDONLY | OFlags::DIRECTORY, path)? else {
        return Err(absent(path));
    };
    let found = inside::stat(&dir, name).map_err(|e| unreadable(e.into()))?;
    let Some(stat) = found else { return Err(absent(path)) };
    let node = Node { dir: dir.as_fd(), name, path: name, stat };
    let shown = called.map_or(shown, str::as_bytes);
    archiver.node(&node, shown.to_vec()).map_err(unreadable)?;
    if node.is_directory() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let below = inside::open(&dir, name, flags).map_err(|e| unreadable(e.into()))?;
        let prefix = match called {
            None if parts.is_empty() => Vec::new(),
            _ if shown.ends_with(b"/") => shown.to_vec(),
            _ => [shown, b"/"].concat(),
        };
        archiver.tree(&below, &prefix).map_err(unreadable)?;
    }
    archiver.finish().map_err(unreadable)?;
    Ok(())
}

pub(super) fn write_tar(
    root: BorrowedFd<'_>,
    at: &Path,
    tar: &mut dyn Read,
    options: WriteOptions,
    ids: Option<&IdMap>,
) -> Result<()> {
    put(root, at, tar, |extractor, parts| extractor.below(parts, options).with_ids(ids.cloned()))
}

fn put<'a>(
    root: BorrowedFd<'a>,
    at: &Path,
    tar: &mut dyn Read,
    set_up: impl FnOnce(Extractor<'a>, &[&[u8]]) -> Extractor<'a>,
) -> Result<()> {
    let parts = inside::absolute(at);
    inside::make_dirs(root, &parts, false).map_err(|e| {
        match e.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
                Error::wrap(ErrorKind::Invalid, format!("{} is no directory in the tree", at.display()), e)
            }
            _ => failed("make directory in the tree", at, e),
        }
    })?;
    let mut reader = Reader::new(io::BufReader::with_capacity(1 << 17, tar));
    let mut extractor = set_up(Extractor::new(root, Whiteouts::Plain), &parts);
    extract(&mut reader, &mut extractor)?;
    Ok(())
}

/// A directory's content as a tar, its own attributes first.
pub(crate) fn pack(root: BorrowedFd<'_>, out: &mut dyn Write) -> Result<()> {
    read_tar(root, Path::new("/"), None, out, None)
}

/// Unpacks a tar into a directory, which gets the attributes of the archive's entry for it.
pub(crate) fn unpack(root: BorrowedFd<'_>, tar: &mut dyn Read) -> Result<()> {
    put(root, Path::new("/"), tar, |extractor, _| extractor.with_root())
}

/// Through a pipe, so that reading and writing go side by side.
pub(super) fn populate(root: BorrowedFd<'_>, path: &Path, target: &Path) -> Result<()> {
    let parts = inside::absolute(path);
    let Some(source) = open(root, &joined(&parts), OFlags::RDONLY | OFlags::DIRECTORY, path)? else {
        return Ok(());
    };
    let target_root = inside::open_root(target).map_err(|e| failed("open", target, e))?;
    let (mut output, input) = io::pipe().map_err(|e| failed("make a pipe to", target, e))?;
    let (read, written) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut input = io::BufWriter::with_capacity(1 << 16, input);
            read_tar(source.as_fd(), Path::new("/"), None, &mut input, None)?;
            input.flush().map_err(|e| Error::wrap(ErrorKind::Internal, "copy into a volume", e))
        });
        let written =
            put(target_root.as_fd(), Path::new("/"), &mut output, |extractor, _| extractor.with_root());
        // Without a reader the other side ends too.
        drop(output);
        (reader.join(), written)
    });
    written?;
    read.map_err(|_| Error::internal(format!("the copy of {} broke off", path.display())))?
}
