//! The content of sparse files on the disk beside what it should be, without a second copy of it.

use super::scan::padded;
use rustix::fs::SeekFrom;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use wharf_oci::tar::{Entry, Segment};

/// Bytes that are compared at once.
const CHUNK: usize = 1 << 17;

/// A second device that is there, and what was found of it.
pub(crate) struct Compared<'a> {
    file: &'a File,
    mend: bool,
    same: bool,
    want: Vec<u8>,
    have: Vec<u8>,
}

impl<'a> Compared<'a> {
    /// To be compared; or made the same, written only where it differs.
    pub(crate) fn new(file: &'a File, mend: bool) -> Self {
        Self { file, mend, same: true, want: vec![0; CHUNK], have: vec![0; CHUNK] }
    }

    /// Whether nothing differed. Bytes behind its end are not looked at.
    pub(crate) fn is_same(&self) -> bool {
        self.same
    }

    /// Compares the file that begins at `at`.
    pub(super) fn entry(
        &mut self,
        content: &mut dyn Read,
        at: u64,
        entry: &Entry,
        map: &[Segment],
    ) -> io::Result<()> {
        let mut hole = at;
        for segment in map {
            self.zeros(hole, at + segment.offset)?;
            self.data(content, at + segment.offset, segment.length)?;
            hole = at + segment.offset + segment.length;
        }
        self.zeros(hole, at + padded(entry.size))
    }

    fn data(&mut self, content: &mut dyn Read, mut at: u64, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let part = part(left);
            content.read_exact(&mut self.want[..part])?;
            self.compare(at, part)?;
            at += part as u64;
            left -= part as u64;
        }
        Ok(())
    }

    /// What the disk has no blocks for is zero.
    fn zeros(&mut self, mut at: u64, end: u64) -> io::Result<()> {
        self.want.fill(0);
        while at < end {
            at = match rustix::fs::seek(self.file, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(rustix::io::Errno::NXIO) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            if at < end {
                let part = part(end - at);
                self.compare(at, part)?;
                at += part as u64;
            }
        }
        Ok(())
    }

    fn compare(&mut self, at: u64, length: usize) -> io::Result<()> {
        let (want, have) = (&self.want[..length], &mut self.have[..length]);
        // What cannot be read is not the same.
        if self.file.read_exact_at(have, at).is_ok() && want == have {
            return Ok(());
        }
        self.same = false;
        if self.mend { self.file.write_all_at(want, at) } else { Ok(()) }
    }
}

fn part(left: u64) -> usize {
    usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)
}
