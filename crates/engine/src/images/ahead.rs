//! Inflating ahead of who reads, on threads of its own; members of gzip that say how long they are, side by side.
//!
//! Such a member has the extra field `MZ` with the bytes of its deflated data, as MiGz writes it (RFC 1952, 2.3.1.1; tools
//! that do not know it skip it). What Wharf pushes is made of them. Other streams are inflated by one thread.
//!
//! A length that lies and a last word that fits it can hide members that follow. Whoever reads through this compares the
//! digest of what comes out, so no other content is ever taken for a layer's.

use super::compress::{CHUNK, HEAD, TRAILER, decoder};
use libdeflater::Decompressor;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use wharf_oci::manifest::Compression;

/// Chunks ready between the inflating thread and the reader.
const QUEUE: usize = 4;
/// Bytes of a member, deflated and not, that are inflated at once: more goes as a stream.
const MAX_MEMBER: usize = 2 << 20;
/// Threads for one stream: layers come side by side, too.
const MAX_THREADS: usize = 4;

type Chunk = io::Result<Vec<u8>>;

/// A chunk, or where it will come.
enum Piece {
    Ready(Chunk),
    Coming(Receiver<Chunk>),
}

/// Reads ahead on threads of its own, so that inflating and unpacking go side by side.
pub(super) struct ReadAhead {
    pieces: Receiver<Piece>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl ReadAhead {
    /// Of a stream that is compressed so.
    pub(super) fn new(compression: Compression, inner: impl BufRead + Send + 'static) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(QUEUE);
        let pump = move || {
            // Nobody may want the rest, nor its errors.
            let _ = pump(compression, inner, &sender);
        };
        std::thread::Builder::new().name("inflate".into()).spawn(pump)?;
        Ok(Self { pieces, current: Vec::new(), at: 0, ended: false })
    }

    fn next(&mut self) -> Chunk {
        let broken = |_| io::Error::other("the inflating thread ended");
        match self.pieces.recv().map_err(broken)? {
            Piece::Ready(chunk) => chunk,
            Piece::Coming(chunk) => chunk.recv().map_err(broken)?,
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() && !self.ended {
            self.current = self.next()?;
            self.at = 0;
            self.ended = self.current.is_empty();
        }
        let n = buffer.len().min(self.current.len() - self.at);
        buffer[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// The reader is gone.
struct Unwanted;

type Pieces = SyncSender<Piece>;

fn send(pieces: &Pieces, piece: Piece) -> Result<(), Unwanted> {
    pieces.send(piece).map_err(|_| Unwanted)
}

/// Sends all that there is, then an empty chunk; or an error.
fn pump(compression: Compression, mut inner: impl BufRead + Send, pieces: &Pieces) -> Result<(), Unwanted> {
    if matches!(compression, Compression::Gzip) {
        match members(&mut inner, pieces)? {
            Ok(Rest::Nothing) => return send(pieces, Piece::Ready(Ok(Vec::new()))),
            Ok(Rest::Stream(begun)) => {
                return stream(compression, io::Cursor::new(begun).chain(inner), pieces);
            }
            Err(e) => return send(pieces, Piece::Ready(Err(e))),
        }
    }
    stream(compression, inner, pieces)
}

fn stream(compression: Compression, inner: impl BufRead + Send, pieces: &Pieces) -> Result<(), Unwanted> {
    let mut plain = match decoder(compression, inner) {
        Ok(plain) => plain,
        Err(e) => return send(pieces, Piece::Ready(Err(e))),
    };
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let result = (&mut plain).take(CHUNK as u64).read_to_end(&mut chunk);
        let last = !matches!(result, Ok(n) if n > 0);
        send(pieces, Piece::Ready(result.map(|_| chunk)))?;
        if last {
            return Ok(());
        }
    }
}

/// What follows the members that could be inflated at once.
enum Rest {
    Nothing,
    /// Something else, of which these bytes are read already.
    Stream(Vec<u8>),
}

/// Inflates members side by side, for as long as they say how long they are.
fn members(inner: &mut impl BufRead, pieces: &Pieces) -> Result<io::Result<Rest>, Unwanted> {
    let mut workers = None;
    loop {
        let packed = match member(inner) {
            Ok(Next::Member(packed)) => packed,
            Ok(Next::Rest(rest)) => return Ok(Ok(rest)),
            Err(e) => return Ok(Err(e)),
        };
        let jobs = match &workers {
            Some(jobs) => jobs,
            None => match start() {
                Ok(jobs) => workers.insert(jobs),
                Err(e) => return Ok(Err(e)),
            },
        };
        let (done, chunk) = sync_channel(1);
        send(pieces, Piece::Coming(chunk))?;
        // The threads end when nobody has work for them, not before.
        jobs.send((packed, done)).map_err(|_| Unwanted)?;
    }
}

type Job = (Vec<u8>, SyncSender<Chunk>);

/// Threads that inflate members until the sender of the jobs is dropped.
fn start() -> io::Result<SyncSender<Job>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (sender, jobs) = sync_channel::<Job>(1);
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..threads {
        let jobs = Arc::clone(&jobs);
        std::thread::Builder::new().name("inflate".into()).spawn(move || {
            let mut decompressor = Decompressor::new();
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((packed, done)) = job else { return };
                // Nobody waits for it any more when reading failed.
                let _ = done.send(inflate(&mut decompressor, &packed));
            }
        })?;
    }
    Ok(sender)
}

fn inflate(decompressor: &mut Decompressor, packed: &[u8]) -> Chunk {
    let mut plain = vec![0; size_of(packed)];
    let length = decompressor.gzip_decompress(packed, &mut plain).map_err(io::Error::other)?;
    if length != plain.len() {
        return Err(io::Error::other("a member of gzip has another length than it says"));
    }
    Ok(plain)
}

/// The bytes that a whole member says it has plain: its last four.
fn size_of(member: &[u8]) -> usize {
    member.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

enum Next {
    /// One to be inflated at once.
    Member(Vec<u8>),
    Rest(Rest),
}

/// Reads the next member whole, when it says that it is small enough.
fn member(inner: &mut impl BufRead) -> io::Result<Next> {
    loop {
        let mut packed = Vec::new();
        inner.take(HEAD.len() as u64 + 4).read_to_end(&mut packed)?;
        let Some(length) = length(&packed) else {
            let rest = if packed.is_empty() { Rest::Nothing } else { Rest::Stream(packed) };
            return Ok(Next::Rest(rest));
        };
        let rest = length + TRAILER;
        packed.reserve_exact(rest);
        if inner.take(rest as u64).read_to_end(&mut packed)? < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match size_of(&packed) {
            // An empty chunk is the end.
            0 => Decompressor::new().gzip_decompress(&packed, &mut []).map(drop).map_err(io::Error::other)?,
            1..=MAX_MEMBER => return Ok(Next::Member(packed)),
            _ => return Ok(Next::Rest(Rest::Stream(packed))),
        }
    }
}

/// How long the deflated data is after a head that says it.
fn length(head: &[u8]) -> Option<usize> {
    let (head, size) = head.split_last_chunk()?;
    // Time, level and system say nothing of use.
    let marks = |head: &[u8]| head.get(..4).zip(head.get(10..)).map(|(a, b)| [a, b].concat());
    let length = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    (marks(head)? == marks(&HEAD)? && length <= MAX_MEMBER).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::super::compress::gzip;
    use super::*;
    use std::io::Write;

    fn content() -> Vec<u8> {
        (0..400_000u32).flat_map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()).collect()
    }

    fn read(packed: Vec<u8>) -> Chunk {
        let mut all = Vec::new();
        ReadAhead::new(Compression::Gzip, io::Cursor::new(packed))?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn ours(content: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        gzip(content, &mut packed).unwrap();
        packed
    }

    /// One member, of any size, that says nothing of its length.
    fn others(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_of_all_kinds_follow_each_other() {
        let content = content();
        let parts = [&content[..], b"", b"x", &content[..700_000], b"", &content[5..9]];
        for kinds in 0..1 << parts.len() {
            let packed = parts.iter().enumerate();
            let packed =
                packed.map(|(at, part)| if kinds >> at & 1 == 1 { ours(part) } else { others(part) });
            assert!(read(packed.collect::<Vec<_>>().concat()).unwrap() == parts.concat(), "{kinds:b}");
        }
        assert_eq!(read(Vec::new()).unwrap(), b"");
    }

    #[test]
    fn other_tools_read_what_says_how_long_it_is() {
        let (content, mut all) = (content(), Vec::new());
        flate2::read::MultiGzDecoder::new(&ours(&content)[..]).read_to_end(&mut all).unwrap();
        assert!(all == content);
    }

    #[test]
    fn damage_is_an_error() {
        let packed = ours(&content());
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packed = packed.clone();
            change(&mut packed);
            assert!(read(packed).is_err());
        };
        damaged(&|p| p.truncate(p.len() / 2));
        damaged(&|p| p.truncate(5));
        damaged(&|p| p[5000] ^= 1);
        damaged(&|p| p.extend_from_slice(b"after"));
        // A lie about the size.
        let end = packed.len();
        damaged(&|p| p[end - 4] ^= 1);
    }

    /// What is taken for the size after a wrong length may be anything; the content is never wrong.
    #[test]
    fn lies_about_the_length_change_nothing_but_errors() {
        let content = content();
        let packed = ours(&content);
        for bit in 0..32 {
            let mut packed = packed.clone();
            packed[16 + bit / 8] ^= 1 << (bit % 8);
            match read(packed) {
                Ok(all) => assert!(all == content, "{bit}"),
                // Too long to be inflated at once, it goes as a stream.
                Err(e) => assert!(1 << bit <= MAX_MEMBER, "{bit}: {e}"),
            }
        }
    }

    #[test]
    fn what_says_that_it_is_too_long_goes_as_a_stream() {
        let content = content();
        let mut packed = ours(&content);
        packed[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(packed).unwrap() == content);
    }

    /// Says when it is dropped.
    struct Watched(io::Cursor<Vec<u8>>, #[expect(dead_code, reason = "dropped")] std::sync::mpsc::Sender<()>);

    impl Read for Watched {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    #[test]
    fn what_is_not_wanted_any_more_ends() {
        for packed in [ours(&content()), others(&content())] {
            let (here, gone) = std::sync::mpsc::channel();
            let inner = io::BufReader::new(Watched(io::Cursor::new(packed), here));
            let mut reader = ReadAhead::new(Compression::Gzip, inner).unwrap();
            reader.read_exact(&mut [0; 10]).unwrap();
            drop(reader);
            assert!(gone.recv().is_err());
        }
    }
}
