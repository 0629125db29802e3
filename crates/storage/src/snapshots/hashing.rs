//! Streams that hash what goes through them.

use ring::digest::{Context, SHA256};
use std::io::{self, Read, Write};
use wharf_oci::digest::{Digest, Hasher};

/// Bytes read at once.
const CHUNK: usize = 1 << 18;

/// A buffered reader that hashes all it reads.
pub(crate) struct HashingReader<R> {
    inner: R,
    hash: Hasher,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> HashingReader<R> {
    /// Its digest is to be compared with `expected`.
    pub(crate) fn new(inner: R, expected: &Digest) -> Self {
        Self { inner, hash: Hasher::like(expected), buffer: vec![0; CHUNK], start: 0, end: 0 }
    }

    /// The digest of all that was read from below.
    pub(crate) fn finish(self) -> Digest {
        self.hash.finish()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            self.end = self.inner.read(&mut self.buffer)?;
            self.start = 0;
            self.hash.update(&self.buffer[..self.end]);
        }
        let n = out.len().min(self.end - self.start);
        out[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }
}

/// A writer that hashes all it passes on.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hash: Context,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Context::new(&SHA256) }
    }

    /// The digest of all that was written.
    pub(crate) fn finish(self) -> Digest {
        Digest::from_sha256(self.hash.finish().as_ref())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
