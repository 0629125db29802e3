//! Reading an archive as a stream, one entry after the other.

use super::header::{Block, number, text};
use super::pax::{Records, decimal};
use super::sparse::{self, Form};
use super::{BLOCK, Entry, Kind, Segment, TarError};
use std::io::Read;

/// Bytes an extended header, a long name or a sparse map may have; Go's reader has the same bound.
const MAX_EXTENSION: u64 = 1 << 20;

/// Reads entries; as [`Read`] it gives the content of the entry that `next_entry` returned last.
pub struct Reader<R> {
    inner: R,
    /// Bytes read from `inner`.
    at: u64,
    /// Bytes of the current entry's content not read yet.
    left: u64,
    /// Bytes of padding after it.
    padding: u64,
    done: bool,
    pass: Option<Pass<R>>,
}

/// Moves a stream on by a number of bytes without giving them.
type Pass<R> = fn(&mut R, u64) -> std::io::Result<()>;

impl<R: Read> Reader<R> {
    /// A reader at the start of an archive. Small reads are made of it: give it a buffered stream.
    pub fn new(inner: R) -> Self {
        Self { inner, at: 0, left: 0, padding: 0, done: false, pass: None }
    }

    /// The same for a stream that can pass over content faster than it gives it. An archive that ends in what is passed
    /// over is seen to be cut off only if `pass` fails with `UnexpectedEof`.
    pub fn passing(inner: R, pass: Pass<R>) -> Self {
        Self { pass: Some(pass), ..Self::new(inner) }
    }

    /// Bytes of the archive that were read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The stream below.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, or `None` at the end. What was left of the last one's content is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut records = Records::default();
        let (mut long_name, mut long_link) = (None, None);
        let mut extended = false;
        while let Some(block) = self.header()? {
            match block.type_flag() {
                b'x' | b'X' => {
                    records = Records::parse(&self.extension(&block)?).map_err(|why| self.bad(why))?;
                    extended = true;
                }
                // Global headers carry a comment at most; Docker passes over them too.
                b'g' => drop(self.extension(&block)?),
                b'L' => {
                    long_name = Some(text(&self.extension(&block)?).to_vec());
                    extended = true;
                }
                b'K' => {
                    long_link = Some(text(&self.extension(&block)?).to_vec());
                    extended = true;
                }
                // A volume's label.
                b'V' => self.skip_content(&block)?,
                _ => return self.entry(&block, &records, long_name, long_link).map(Some),
            }
        }
        if extended { Err(TarError::Truncated { at: self.at }) } else { Ok(None) }
    }

    /// Reads to the end of the stream, past the archive's end.
    pub fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 1 << 15];
        loop {
            match self.inner.read(&mut buffer)? {
                0 => return Ok(()),
                n => self.at += n as u64,
            }
        }
    }

    fn entry(
        &mut self,
        block: &Block,
        records: &Records,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let start = self.at - BLOCK as u64;
        let header = |why| TarError::Header { at: start, why };
        let path = records.get("GNU.sparse.name").or_else(|| records.get("path")).map(<[u8]>::to_vec);
        let path = path.or(long_name).unwrap_or_else(|| block.full_name());
        let link = records.get("linkpath").map(<[u8]>::to_vec).or(long_link);
        let link = link.unwrap_or_else(|| text(block.link()).to_vec());
        let kind = match block.type_flag() {
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let path = String::from_utf8_lossy(&path).into_owned();
                return Err(TarError::Kind { path, kind: char::from(other) });
            }
        };
        if path.is_empty() || path.contains(&0) || link.contains(&0) {
            return Err(header("the name is empty or has a zero byte"));
        }
        let small = |field| number(field).and_then(|n| u32::try_from(n).ok());
        let id = |key: &str, field| match records.number(key) {
            Ok(None) => small(field).ok_or_else(|| header("the owner is no number of 32 bits")),
            Ok(Some(n)) => u32::try_from(n).map_err(|_| header("the owner is no number of 32 bits")),
            Err(why) => Err(header(why)),
        };
        let mtime = match records.time("mtime").map_err(header)? {
            Some(time) => time,
            None => super::Timestamp {
                seconds: number(block.mtime()).ok_or_else(|| header("the time is malformed"))?,
                nanos: 0,
            },
        };
        let device = match kind {
            Kind::Char | Kind::Block => {
                let bad = || header("the device number is malformed");
                (small(block.major()).ok_or_else(bad)?, small(block.minor()).ok_or_else(bad)?)
            }
            _ => (0, 0),
        };
        let mut entry = Entry {
            kind,
            link,
            mode: number(block.mode()).ok_or_else(|| header("the mode is malformed"))? as u32 & 0o7777,
            uid: id("uid", block.uid())?,
            gid: id("gid", block.gid())?,
            mtime,
            size: 0,
            device,
            xattrs: Vec::new(),
            sparse: None,
            path,
        };
        for (name, value) in records.with_prefix("SCHILY.xattr.") {
            if name.is_empty() || name.contains(&0) {
                return Err(header("an extended attribute has no name or a zero byte in it"));
            }
            entry.xattrs.push((name.to_vec(), value.to_vec()));
        }
        if kind == Kind::File {
            self.file(block, records, &mut entry)?;
        }
        Ok(entry)
    }

    /// Sizes and sparse maps. Only files have content: a size on anything else means nothing.
    fn file(&mut self, block: &Block, records: &Records, entry: &mut Entry) -> Result<(), TarError> {
        let stored = self.stored_size(block, records)?;
        self.expect(stored);
        entry.size = stored;
        let map = if block.type_flag() == b'S' && block.magic() == super::header::MAGIC_GNU {
            entry.size = sparse::old_size(block).ok_or_else(|| self.bad("a sparse file has no size"))?;
            Some(self.old_map(block, stored)?)
        } else {
            match sparse::form(records).map_err(|why| self.bad(why))? {
                Form::Dense => None,
                Form::Listed(map) => {
                    entry.size = self.real_size(records)?;
                    Some(map)
                }
                Form::Leading => {
                    entry.size = self.real_size(records)?;
                    Some(self.leading_map()?)
                }
            }
        };
        if let Some(map) = map {
            sparse::check(&map, entry.size, self.left).map_err(|why| self.bad(why))?;
            entry.sparse = Some(map);
        }
        Ok(())
    }

    fn stored_size(&self, block: &Block, records: &Records) -> Result<u64, TarError> {
        let header = |why| TarError::Header { at: self.at - BLOCK as u64, why };
        match records.number("size").map_err(header)? {
            Some(size) if i64::try_from(size).is_ok() => Ok(size),
            Some(_) => Err(header("the size is too large")),
            None => number(block.size())
                .and_then(|n| u64::try_from(n).ok())
                .ok_or_else(|| header("the size is malformed")),
        }
    }

    fn real_size(&self, records: &Records) -> Result<u64, TarError> {
        let size = match records.number("GNU.sparse.realsize").map_err(|why| self.bad(why))? {
            Some(size) => Some(size),
            None => records.number("GNU.sparse.size").map_err(|why| self.bad(why))?,
        };
        size.filter(|s| i64::try_from(*s).is_ok()).ok_or_else(|| self.bad("a sparse file has no size"))
    }

    /// GNU's old format continues its map in blocks that its size does not count.
    fn old_map(&mut self, block: &Block, stored: u64) -> Result<Vec<Segment>, TarError> {
        let mut map = Vec::new();
        sparse::old_segments(block.gnu_sparse(), &mut map).map_err(|why| self.bad(why))?;
        let mut more = block.gnu_is_extended();
        while more {
            let mut next = [0; BLOCK];
            self.exact(&mut next)?;
            sparse::old_segments(&next[..504], &mut map).map_err(|why| self.bad(why))?;
            more = next[504] != 0;
        }
        self.expect(stored);
        Ok(map)
    }

    /// Pax 1.0: decimal lines, first their count, padded to a block.
    fn leading_map(&mut self) -> Result<Vec<Segment>, TarError> {
        let mut bytes = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut parsed = 0;
        let mut wanted = 1;
        while numbers.len() < wanted {
            match bytes[parsed..].iter().position(|b| *b == b'\n') {
                Some(end) => {
                    let value = decimal(&bytes[parsed..parsed + end]);
                    numbers
                        .push(value.ok_or_else(|| self.bad("a sparse map has something that is no number"))?);
                    parsed += end + 1;
                    if numbers.len() == 1 {
                        let count = usize::try_from(numbers[0]).unwrap_or(usize::MAX);
                        if count > sparse::MAX_SEGMENTS {
                            return Err(self.bad("a sparse map is too long"));
                        }
                        wanted = 1 + 2 * count;
                    }
                }
                None if bytes.len() as u64 >= MAX_EXTENSION => {
                    return Err(self.bad("a sparse map is too long"));
                }
                None => {
                    let mut next = [0; BLOCK];
                    if self.left < BLOCK as u64 {
                        return Err(self.bad("a sparse map is incomplete"));
                    }
                    self.exact(&mut next)?;
                    self.left -= BLOCK as u64;
                    bytes.extend_from_slice(&next);
                }
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|p| Segment { offset: p[0], length: p[1] }).collect())
    }

    /// The next header block; `None` at the archive's end.
    fn header(&mut self) -> Result<Option<Block>, TarError> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        if self.done {
            return Ok(None);
        }
        let start = self.at;
        let mut block = Block([0; BLOCK]);
        if !self.block(&mut block)? {
            self.done = true;
            return Ok(None);
        }
        if block.is_zero() {
            self.done = true;
            if !self.block(&mut block)? || block.is_zero() {
                return Ok(None);
            }
            return Err(TarError::Header { at: start, why: "one empty block among others" });
        }
        if !block.checksum_holds() {
            return Err(TarError::Header { at: start, why: "its checksum is wrong" });
        }
        Ok(Some(block))
    }

    /// Fills a block; false when the stream has ended before it.
    fn block(&mut self, block: &mut Block) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block.0[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(TarError::Truncated { at: self.at }),
                Ok(n) => {
                    filled += n;
                    self.at += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    /// The whole content of a header that extends the next one.
    fn extension(&mut self, block: &Block) -> Result<Vec<u8>, TarError> {
        self.skip_content(block)?;
        if self.left > MAX_EXTENSION {
            return Err(self.bad("it is larger than 1 MiB"));
        }
        let mut content = vec![0; usize::try_from(self.left).unwrap_or_default()];
        self.exact(&mut content)?;
        self.left = 0;
        Ok(content)
    }

    fn skip_content(&mut self, block: &Block) -> Result<(), TarError> {
        let stored = self.stored_size(block, &Records::default())?;
        self.expect(stored);
        Ok(())
    }

    fn expect(&mut self, stored: u64) {
        self.left = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        match self.inner.read_exact(buffer) {
            Ok(()) => {
                self.at += buffer.len() as u64;
                Ok(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(TarError::Truncated { at: self.at })
            }
            Err(e) => Err(e.into()),
        }
    }

    fn skip(&mut self, mut count: u64) -> Result<(), TarError> {
        if let Some(pass) = self.pass {
            return match pass(&mut self.inner, count) {
                Ok(()) => {
                    self.at += count;
                    Ok(())
                }
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(TarError::Truncated { at: self.at })
                }
                Err(e) => Err(e.into()),
            };
        }
        let mut buffer = [0; 1 << 14];
        while count > 0 {
            let part = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            self.exact(&mut buffer[..part])?;
            count -= part as u64;
        }
        Ok(())
    }

    fn bad(&self, why: &'static str) -> TarError {
        TarError::Extension { at: self.at, why }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if part == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..part])?;
        if n == 0 {
            let error = TarError::Truncated { at: self.at };
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, error));
        }
        self.left -= n as u64;
        self.at += n as u64;
        Ok(n)
    }
}
