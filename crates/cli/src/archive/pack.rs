//! Files of this machine into a tar.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Whose the files in the archive are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// As they are here.
    Kept,
    /// root, whoever they belong to here.
    Root,
}

/// Adds one file, directory, link or device under a name. Sockets are left out.
pub(crate) fn add(
    archive: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    owner: Owner,
) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let metadata = fs::symlink_metadata(path).map_err(named)?;
    let mut header = header(&metadata, owner);
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        archive.append_data(&mut header, name, io::empty()).map_err(named)
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, name, fs::read_link(path).map_err(named)?).map_err(named)
    } else if kind.is_file() {
        let file = File::open(path).map_err(named)?;
        header.set_entry_type(EntryType::Regular);
        // A file that grows or shrinks meanwhile keeps the size that the header promises.
        let exact = Exact { inner: file, left: metadata.len() };
        archive.append_data(&mut header, name, exact).map_err(named)
    } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
        header.set_entry_type(if kind.is_fifo() {
            EntryType::Fifo
        } else if kind.is_char_device() {
            EntryType::Char
        } else {
            EntryType::Block
        });
        header.set_size(0);
        header.set_device_major(rustix::fs::major(metadata.rdev())).map_err(named)?;
        header.set_device_minor(rustix::fs::minor(metadata.rdev())).map_err(named)?;
        archive.append_data(&mut header, name, io::empty()).map_err(named)
    } else {
        Ok(())
    }
}

/// Adds a directory's content, or a file, with everything below it, under a name.
pub(crate) fn add_tree(
    archive: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    owner: Owner,
) -> io::Result<()> {
    // Explicit stack: a tree may be deeper than a thread's.
    let mut pending = vec![(path.to_owned(), name.to_owned())];
    while let Some((path, name)) = pending.pop() {
        if !name.as_os_str().is_empty() {
            add(archive, &path, &name, owner)?;
        }
        if fs::symlink_metadata(&path)?.is_dir() {
            let mut entries = fs::read_dir(&path)?.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
            pending.extend(entries.into_iter().map(|entry| (entry.path(), name.join(entry.file_name()))));
        }
    }
    Ok(())
}

/// Adds a file whose content is in memory.
pub(crate) fn add_bytes(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o600);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    header.set_entry_type(EntryType::Regular);
    archive.append_data(&mut header, name, content)
}

fn header(metadata: &Metadata, owner: Owner) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(metadata.len());
    if owner == Owner::Kept {
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
    } else {
        header.set_uid(0);
        header.set_gid(0);
    }
    header
}

/// Exactly as many bytes as promised: cut where there are more, zeros where there are fewer.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: io::Read> io::Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let len = match self.inner.read(&mut buffer[..want])? {
            0 => {
                buffer[..want].fill(0);
                want
            }
            len => len,
        };
        self.left -= len as u64;
        Ok(len)
    }
}
