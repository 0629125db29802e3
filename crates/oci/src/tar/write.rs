//! Writing the canonical form: ustar headers, pax records only for what ustar cannot say.

use super::header::MAGIC_POSIX;
use super::{BLOCK, Entry, Kind, TarError, pax};
use std::io::{Read, Write};

/// Writes entries one after the other. The same entries give the same bytes.
pub struct Writer<W> {
    inner: W,
    written: u64,
}

/// The largest value of an octal field of 7 digits.
const MAX_SMALL: u64 = 0o7_777_777;
/// The largest value of an octal field of 11 digits.
const MAX_LARGE: u64 = 0o77_777_777_777;

impl<W: Write> Writer<W> {
    /// A writer of a new archive.
    pub fn new(inner: W) -> Self {
        Self { inner, written: 0 }
    }

    /// Writes an entry without content, or a file's header whose content [`Writer::content`] writes.
    /// A fraction of a second in the time is written only when it is not 0.
    pub fn header(&mut self, entry: &Entry) -> Result<(), TarError> {
        let mut block = [0u8; BLOCK];
        let mut records = Vec::new();
        let path = match entry.kind {
            Kind::Directory if !entry.path.ends_with(b"/") => [&entry.path[..], b"/"].concat(),
            _ => entry.path.clone(),
        };
        match split_name(&path) {
            Some((prefix, name)) => {
                block[..name.len()].copy_from_slice(name);
                block[345..345 + prefix.len()].copy_from_slice(prefix);
            }
            None => {
                pax::push(&mut records, b"path", &path);
                block[..100].copy_from_slice(&path[..100.min(path.len())]);
            }
        }
        if matches!(entry.kind, Kind::HardLink | Kind::Symlink) {
            if entry.link.len() > 100 {
                pax::push(&mut records, b"linkpath", &entry.link);
            }
            let part = entry.link.len().min(100);
            block[157..157 + part].copy_from_slice(&entry.link[..part]);
        }
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        octal(&mut block[100..108], u64::from(entry.mode & 0o7777));
        for (range, key, value) in [(108..116, "uid", entry.uid), (116..124, "gid", entry.gid)] {
            let value = u64::from(value);
            if value > MAX_SMALL {
                pax::push(&mut records, key.as_bytes(), value.to_string().as_bytes());
            }
            octal(&mut block[range], if value > MAX_SMALL { 0 } else { value });
        }
        if size > MAX_LARGE {
            pax::push(&mut records, b"size", size.to_string().as_bytes());
        }
        octal(&mut block[124..136], if size > MAX_LARGE { 0 } else { size });
        let seconds = u64::try_from(entry.mtime.seconds).ok().filter(|s| *s <= MAX_LARGE);
        if seconds.is_none() || entry.mtime.nanos != 0 {
            pax::push(&mut records, b"mtime", time(entry).as_bytes());
        }
        octal(&mut block[136..148], seconds.unwrap_or_default());
        block[156] = match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Char => b'3',
            Kind::Block => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        };
        block[257..265].copy_from_slice(MAGIC_POSIX);
        octal(&mut block[329..337], u64::from(entry.device.0));
        octal(&mut block[337..345], u64::from(entry.device.1));
        let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
        xattrs.sort();
        for (name, value) in xattrs {
            pax::push(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        if !records.is_empty() {
            self.records(&records)?;
        }
        self.sealed(block)
    }

    /// Writes a file's content, of exactly `size` bytes.
    pub fn content(&mut self, size: u64, content: &mut dyn Read) -> Result<(), TarError> {
        let copied = std::io::copy(&mut content.take(size), &mut self.inner)?;
        self.written += copied;
        if copied != size {
            return Err(TarError::Truncated { at: self.written });
        }
        self.pad(size)
    }

    /// Writes a file that is in memory.
    pub fn file(&mut self, entry: &Entry, content: &[u8]) -> Result<(), TarError> {
        self.header(&Entry { size: content.len() as u64, ..entry.clone() })?;
        self.content(content.len() as u64, &mut &content[..])
    }

    /// Ends the archive and returns the stream below.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }

    fn records(&mut self, records: &[u8]) -> Result<(), TarError> {
        let mut block = [0u8; BLOCK];
        let name = b"PaxHeaders/entry";
        block[..name.len()].copy_from_slice(name);
        for range in [100..108, 108..116, 116..124, 136..148, 329..337, 337..345] {
            octal(&mut block[range], 0);
        }
        octal(&mut block[124..136], records.len() as u64);
        block[156] = b'x';
        block[257..265].copy_from_slice(MAGIC_POSIX);
        self.sealed(block)?;
        self.inner.write_all(records)?;
        self.written += records.len() as u64;
        self.pad(records.len() as u64)
    }

    fn sealed(&mut self, mut block: [u8; BLOCK]) -> Result<(), TarError> {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        octal(&mut block[148..155], sum);
        self.inner.write_all(&block)?;
        self.written += BLOCK as u64;
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<(), TarError> {
        let padding = size.wrapping_neg() % BLOCK as u64;
        self.inner.write_all(&[0; BLOCK][..padding as usize])?;
        self.written += padding;
        Ok(())
    }
}

/// Octal digits and a closing zero byte.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(&text.as_bytes()[text.len() - digits..]);
    field[digits] = 0;
}

/// Prefix and name of ustar's two fields, if the path fits.
fn split_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((&[], path));
    }
    let first = path.len() - 101;
    // The name may not be empty: a directory's last slash is no place to split.
    let at = first + path[first..path.len() - 1].iter().position(|b| *b == b'/')?;
    (at <= 155 && at > 0).then(|| (&path[..at], &path[at + 1..]))
}

fn time(entry: &Entry) -> String {
    let (seconds, nanos) = (entry.mtime.seconds, entry.mtime.nanos);
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (false, _) => ("", seconds.unsigned_abs(), nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
    };
    let text = format!("{sign}{seconds}.{nanos:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
