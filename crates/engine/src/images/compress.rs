//! Layers in and out of their wrapping.

use super::ahead::ReadAhead;
use flate2::bufread::MultiGzDecoder;
use libdeflater::{CompressionLvl, Compressor};
use ring::digest::{Context, SHA256};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Compression;

/// Bytes handed from one thread to the next.
pub(super) const CHUNK: usize = 1 << 18;
/// Bytes compressed as one gzip member. Members are independent, so they are made side by side, and the result
/// does not depend on how many threads there are; and they are inflated side by side.
const MEMBER: usize = 1 << 19;
/// libdeflate's level: as small as zlib's third in half the time. Another level gives other digests.
const LEVEL: i32 = 1;
/// A member's header, what level or system made it left out (RFC 1952), with an extra field for the bytes of its deflated
/// data, four of which follow: see `ahead`.
pub(super) const HEAD: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'M', b'Z', 4, 0];
/// A member's checksum and size, after its deflated data.
pub(super) const TRAILER: usize = 8;

/// Bytes that any archive may expand to, however small it is.
const FREE_EXPANSION: u64 = 4 << 30;
/// Beyond that it must not expand to more than so many times its size: file trees expand three to ten times, images of
/// almost empty disks a hundred times; bombs come near the thousand of deflate or the tens of thousands of zstd.
const MAX_EXPANSION: u64 = 200;
/// The window a zstd frame may ask for, as a power of two: 128 MiB, which every decoder has to grant no more than
/// (`zstd --long=27`). It is memory of the engine's for as long as the layer is read.
const MAX_ZSTD_WINDOW: u32 = 27;

/// A reader of what is wrapped; the wrapping is told by the first bytes.
pub(super) fn unwrap<R: Read + Send + 'static>(inner: R) -> io::Result<(Compression, Box<dyn Read + Send>)> {
    let (compression, reader, packed) = detect(inner)?;
    let inner = decoder(compression, reader)?;
    Ok((compression, Box::new(InProportion { inner, packed, plain: 0, free: FREE_EXPANSION })))
}

/// The same, read ahead on threads of its own.
pub(super) fn unwrap_ahead<R: Read + Send + 'static>(inner: R) -> io::Result<impl Read> {
    let (compression, reader, packed) = detect(inner)?;
    let inner = ReadAhead::new(compression, reader)?;
    Ok(InProportion { inner, packed, plain: 0, free: FREE_EXPANSION })
}

/// The wrapping, what is wrapped from its beginning, and how much of it will have been read.
fn detect<R: Read>(inner: R) -> io::Result<(Compression, BufReader<Counted<R>>, Arc<AtomicU64>)> {
    let packed = Arc::new(AtomicU64::new(0));
    let mut reader = BufReader::with_capacity(CHUNK, Counted { inner, read: Arc::clone(&packed) });
    Ok((Compression::detect(reader.fill_buf()?), reader, packed))
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Ends with an error when what comes out is out of proportion to what went in.
struct InProportion<R> {
    inner: R,
    packed: Arc<AtomicU64>,
    plain: u64,
    free: u64,
}

impl<R: Read> Read for InProportion<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.plain += n as u64;
        let packed = self.packed.load(Ordering::Relaxed);
        if self.plain > self.free && self.plain / MAX_EXPANSION > packed {
            return Err(io::Error::other(format!(
                "{packed} bytes of it expand to more than {} bytes, over {MAX_EXPANSION} times as many: refused as a \
                 decompression bomb",
                self.plain
            )));
        }
        Ok(n)
    }
}

/// An archive as it was before it was compressed with gzip or zstd, if it was.
pub fn plain<R: Read + Send + 'static>(inner: R) -> io::Result<Box<dyn Read + Send>> {
    Ok(unwrap(inner)?.1)
}

pub(super) fn decoder<'a, R: BufRead + Send + 'a>(
    compression: Compression,
    inner: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(inner),
        Compression::Gzip => Box::new(MultiGzDecoder::new(inner)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(inner)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// Compresses as gzip; the same content gives the same bytes on every machine.
pub(super) fn gzip(mut content: impl Read + Send, out: &mut dyn Write) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        // Each member has a channel of its own; they are written in order.
        let (order, members) = sync_channel::<Receiver<io::Result<Vec<u8>>>>(threads);
        let (work, jobs) = sync_channel::<(Vec<u8>, SyncSender<io::Result<Vec<u8>>>)>(threads);
        let jobs = Arc::new(std::sync::Mutex::new(jobs));
        for _ in 0..threads {
            let jobs = Arc::clone(&jobs);
            scope.spawn(move || {
                let mut compressor = Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default());
                loop {
                    let job = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
                    let Ok((chunk, done)) = job else { return };
                    // Nobody waits for it any more when writing failed.
                    let _ = done.send(member(&mut compressor, &chunk));
                }
            });
        }
        drop(jobs);
        let reader = scope.spawn(move || -> io::Result<()> {
            let mut empty = true;
            loop {
                let mut chunk = Vec::with_capacity(MEMBER);
                (&mut content).take(MEMBER as u64).read_to_end(&mut chunk)?;
                if chunk.is_empty() && !empty {
                    return Ok(());
                }
                empty = false;
                let (done, member) = sync_channel(1);
                if order.send(member).is_err() || work.send((chunk, done)).is_err() {
                    return Ok(());
                }
            }
        });
        let mut result = Ok(());
        for member in members {
            let written = member.recv().map_err(|_| io::Error::other("a compressing thread ended"));
            result = written.and_then(|m| m).and_then(|bytes| out.write_all(&bytes));
            if result.is_err() {
                break;
            }
        }
        let read = reader.join().map_err(|_| io::Error::other("the reading thread ended"))?;
        result.and(read)
    })
}

fn member(compressor: &mut Compressor, chunk: &[u8]) -> io::Result<Vec<u8>> {
    let body = HEAD.len() + 4;
    let mut out = vec![0; body + compressor.deflate_compress_bound(chunk.len()) + TRAILER];
    out[..HEAD.len()].copy_from_slice(&HEAD);
    let length = compressor.deflate_compress(chunk, &mut out[body..]).map_err(io::Error::other)?;
    out[HEAD.len()..body].copy_from_slice(&(length as u32).to_le_bytes());
    out.truncate(body + length);
    out.extend_from_slice(&libdeflater::crc32(chunk).to_le_bytes());
    out.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
    Ok(out)
}

/// A writer that knows the digest and the length of what it passed on.
pub(super) struct Counting<W> {
    inner: W,
    hash: Context,
    pub(super) size: u64,
}

impl<W: Write> Counting<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Context::new(&SHA256), size: 0 }
    }

    pub(super) fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest::from_sha256(self.hash.finish().as_ref()), self.size)
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(bytes: &[u8]) -> (Compression, Vec<u8>) {
        let (kind, mut reader) = unwrap(io::Cursor::new(bytes.to_vec())).unwrap();
        let (mut all, mut ahead) = (Vec::new(), Vec::new());
        reader.read_to_end(&mut all).unwrap();
        unwrap_ahead(io::Cursor::new(bytes.to_vec())).unwrap().read_to_end(&mut ahead).unwrap();
        assert!(all == ahead, "the two readers differ");
        (kind, all)
    }

    #[test]
    fn there_and_back() {
        let content: Vec<u8> = (0..5_000_000u32).map(|n| (n % 1009 * (n % 253)) as u8).collect();
        for content in [&content[..], b"", b"x"] {
            let (mut one, mut two) = (Vec::new(), Vec::new());
            gzip(content, &mut one).unwrap();
            gzip(content, &mut two).unwrap();
            assert_eq!(one, two);
            assert_eq!(inflate(&one), (Compression::Gzip, content.to_vec()));
        }
        let packed = zstd::encode_all(&content[..], 1).unwrap();
        assert_eq!(inflate(&packed), (Compression::Zstd, content));
        assert_eq!(inflate(b"plain"), (Compression::None, b"plain".to_vec()));
    }

    #[test]
    fn what_expands_out_of_proportion_is_refused() {
        let expand = |packed: Vec<u8>, free| {
            let count = Arc::new(AtomicU64::new(0));
            let counted = Counted { inner: io::Cursor::new(packed), read: Arc::clone(&count) };
            let inner = decoder(Compression::Zstd, BufReader::new(counted)).unwrap();
            io::copy(&mut InProportion { inner, packed: count, plain: 0, free }, &mut io::sink())
        };
        let bomb = zstd::encode_all(&vec![0; 8 << 20][..], 3).unwrap();
        assert_eq!(expand(bomb.clone(), 8 << 20).unwrap(), 8 << 20);
        let said = expand(bomb, 1 << 20).unwrap_err().to_string();
        assert!(said.contains("over 200 times as many: refused as a decompression bomb"), "{said}");
        let honest: Vec<u8> = (0..500_000u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        assert!(expand(zstd::encode_all(&honest[..], 3).unwrap(), 1 << 20).is_ok());
    }

    #[test]
    fn a_window_that_costs_too_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(b"content").unwrap();
        let (_, mut reader) = unwrap(io::Cursor::new(encoder.finish().unwrap())).unwrap();
        let said = reader.read_to_end(&mut Vec::new()).unwrap_err().to_string();
        assert!(said.contains("memory"), "{said}");
    }

    #[test]
    fn damage_is_an_error() {
        let mut packed = Vec::new();
        gzip(&b"content"[..], &mut packed).unwrap();
        packed.truncate(packed.len() - 4);
        assert!(unwrap_ahead(io::Cursor::new(packed)).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
