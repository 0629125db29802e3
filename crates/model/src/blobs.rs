//! The `Blobs` seam: immutable content, named by its digest.
//!
//! A blob is written to an ingest first, and becomes visible only when its digest was verified. An ingest
//! has a name, so that a broken transfer goes on where it stopped. An ingest that is neither committed
//! nor kept is gone when it is dropped.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod fake;

use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use wharf_oci::digest::Digest;

/// Content-addressed storage.
///
/// Errors: `NotFound` for an absent blob, `Invalid` when content does not match the digest it was promised
/// under (the message names both), `Conflict` when an ingest of the same name is being written,
/// `Internal` for the disk's failures.
pub trait Blobs: Send + Sync {
    /// Starts or resumes an ingest. `offset()` tells what is already there.
    fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>>;
    /// Opens a blob for reading.
    fn open(&self, digest: &Digest) -> Result<File>;
    /// The size in bytes, or `None` when absent.
    fn size(&self, digest: &Digest) -> Result<Option<u64>>;
    /// Makes a file that never changes, and that is known to have this digest, a blob without reading it where that can be
    /// done. It takes the place of a blob that is there.
    fn adopt(&self, digest: &Digest, mut file: &File) -> Result<()> {
        let failed = |e| Error::wrap(ErrorKind::Internal, "copy a blob", e);
        let mut ingest = self.ingest(&format!("adopt-{digest}"))?;
        ingest.restart()?;
        file.rewind().map_err(failed)?;
        std::io::copy(&mut file, &mut ingest).map_err(failed)?;
        ingest.commit(Some(digest)).map(drop)
    }
    /// Removes a blob; nothing happens if it is absent.
    fn remove(&self, digest: &Digest) -> Result<()>;
    /// Every blob with its size in bytes.
    fn list(&self) -> Result<Vec<(Digest, u64)>>;

    /// Stores bytes already in memory and returns their digest.
    fn put(&self, content: &[u8]) -> Result<Digest> {
        static ATTEMPT: AtomicU64 = AtomicU64::new(0);
        let digest = Digest::sha256(content);
        if self.size(&digest)?.is_some() {
            return Ok(digest);
        }
        // A name of its own for each, so that two who store the same do not meet.
        let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
        let mut ingest = self.ingest(&format!("put-{}-{attempt}", digest.hex()))?;
        ingest.restart()?;
        ingest.write_all(content).map_err(|e| Error::wrap(ErrorKind::Internal, "write blob", e))?;
        ingest.commit(Some(&digest))
    }
}

/// The error of content that is not what was promised.
pub fn mismatch(promised: &Digest, real: &Digest) -> Error {
    Error::invalid(format!(
        "the content has the digest {real}, not {promised} as promised: it was damaged or changed on the way, \
         fetch it again"
    ))
}

/// A blob being written.
pub trait Ingest: Write + Send {
    /// Bytes written so far, by this and earlier attempts.
    fn offset(&self) -> u64;
    /// Throws away what was written and begins again at 0.
    fn restart(&mut self) -> Result<()>;
    /// Opens what is written, from its beginning, while more is being written. What is read so is not verified.
    fn reader(&self) -> Result<File>;
    /// Leaves what was written for a later attempt under the same name.
    fn keep(self: Box<Self>) -> Result<()>;
    /// Verifies and publishes: file synced, renamed, directory synced. Returns the digest of the content.
    /// With `expected`, content of another digest is thrown away and is `Invalid`.
    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<Digest>;
}
