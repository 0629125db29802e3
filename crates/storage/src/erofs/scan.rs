//! Reading a layer's tar into a tree.

use super::BLOCK;
use super::compare::Compared;
use super::tree::{Extent, Root, Tree};
use crate::disk;
use crate::snapshots::extract::{MAX_HOLES, archive_error, failed};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use wharf_model::Result;
use wharf_oci::tar::{Entry, Kind, Reader, Segment};

/// Bytes of a file: what one chunk of the index can describe.
const MAX_FILE: u64 = 1 << 40;
/// Bytes copied at once.
const CHUNK: usize = 1 << 17;
/// Where the next file in the second device begins: a page, so that its holes are holes on the disk.
const ALIGNMENT: u64 = 4096;
/// Bytes of a tar that its headers are read in.
const WINDOW: usize = 2048;

/// What a scan found.
pub(crate) struct Layer {
    pub(crate) tree: Tree,
    /// Bytes of file content.
    pub(crate) size: u64,
    /// Bytes of the second device, 0 when it is not needed.
    pub(crate) side: u64,
}

/// What is done with the content of sparse files.
pub(crate) enum Content<'a, 'file> {
    /// It is copied into the second device, which the call makes.
    Copied(&'a mut dyn FnMut() -> io::Result<File>),
    /// It is there already.
    There,
    /// It is there, perhaps with another content.
    Compared(&'a mut Compared<'file>),
}

/// Reads a whole tar. Its devices are `device` and, for sparse files, the next number.
pub(crate) fn scan<R: Read>(
    reader: &mut Reader<R>,
    root: Root,
    device: u16,
    mut content: Content<'_, '_>,
) -> Result<Layer> {
    let mut layer = Layer { tree: Tree::new(root), size: 0, side: 0 };
    let mut side = None;
    let mut holes = 0;
    while let Some(entry) = reader.next_entry().map_err(|e| archive_error(e, "read the archive"))? {
        let extent = match &entry.sparse {
            Some(map) => {
                holes += entry.size - map.iter().map(|s| s.length).sum::<u64>();
                let at = check_holes(holes).and_then(|()| extent(device + 1, layer.side));
                let at = at.map_err(|e| failed(&entry, e))?;
                let done = match &mut content {
                    Content::There => Ok(()),
                    Content::Compared(compared) => compared.entry(reader, layer.side, &entry, map),
                    Content::Copied(make) => {
                        opened(&mut side, make).and_then(|file| copy(reader, file, layer.side, &entry, map))
                    }
                };
                done.map_err(|e| failed(&entry, e))?;
                layer.side += padded(entry.size);
                Some(at)
            }
            None if entry.size > 0 => Some(extent(device, reader.position()).map_err(|e| failed(&entry, e))?),
            None => None,
        };
        if entry.kind == Kind::File {
            layer.size = layer.size.saturating_add(entry.size);
        }
        if entry.size > MAX_FILE {
            let text = "a file of more than 1 TiB";
            return Err(failed(&entry, io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        layer.tree.put(&entry, extent.filter(|_| entry.size > 0))?;
    }
    Ok(layer)
}

fn opened<'a>(
    side: &'a mut Option<File>,
    make: &mut dyn FnMut() -> io::Result<File>,
) -> io::Result<&'a File> {
    match side {
        Some(file) => Ok(file),
        None => Ok(side.insert(make()?)),
    }
}

/// The bytes that a file of so many has in the second device.
pub(super) fn padded(size: u64) -> u64 {
    size.next_multiple_of(ALIGNMENT)
}

fn check_holes(holes: u64) -> io::Result<()> {
    if holes > MAX_HOLES {
        let text = "sparse files with more than 1 TiB of holes";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(())
}

fn extent(device: u16, at: u64) -> io::Result<Extent> {
    let block = u32::try_from(at / BLOCK);
    let block = block.map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "it begins behind the archive's first 2 TiB")
    })?;
    Ok(Extent { device, block })
}

fn copy(content: &mut dyn Read, file: &File, at: u64, entry: &Entry, map: &[Segment]) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    for segment in map {
        let (mut place, mut left) = (at + segment.offset, segment.length);
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let n = content.read(&mut buffer[..part])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_all_at(&buffer[..n], place)?;
            place += n as u64;
            left -= n as u64;
        }
    }
    file.set_len(at + padded(entry.size))
}

/// A tar on the disk of which only the headers are read.
pub(crate) struct TarFile {
    file: File,
    length: u64,
    at: u64,
    window: Vec<u8>,
    from: u64,
}

impl TarFile {
    /// A reader at its start.
    ///
    /// # Errors
    /// Of the disk.
    pub(crate) fn open(path: &Path) -> Result<Reader<Self>> {
        let file = File::open(path).map_err(|e| disk::failed("open", path, e))?;
        let length = file.metadata().map_err(|e| disk::failed("stat", path, e))?.len();
        Ok(Reader::passing(Self { file, length, at: 0, window: Vec::new(), from: 0 }, |tar, count| {
            tar.at = tar.at.saturating_add(count);
            if tar.at > tar.length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        }))
    }
}

impl Read for TarFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let end = self.from + self.window.len() as u64;
        if !(self.from..end).contains(&self.at) {
            self.window.resize(WINDOW, 0);
            let n = self.file.read_at(&mut self.window, self.at)?;
            self.window.truncate(n);
            self.from = self.at;
        }
        let start = usize::try_from(self.at - self.from).unwrap_or(usize::MAX).min(self.window.len());
        let n = out.len().min(self.window.len() - start);
        out[..n].copy_from_slice(&self.window[start..start + n]);
        self.at += n as u64;
        Ok(n)
    }
}
