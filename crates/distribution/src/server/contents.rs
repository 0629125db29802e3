//! The `Contents` seam: where the registry's blobs are, on this disk or in a store elsewhere.
//!
//! It is the `Blobs` seam but for one thing: a blob need not be a file here, and is then given out as it comes. Its
//! methods block, but for what a [`Far`] does.

pub(super) mod s3;

use super::reply::Body;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use wharf_model::blobs::{Blobs, Ingest};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;

/// A part of a blob on its way.
pub(super) type Coming = Pin<Box<dyn Future<Output = Result<Body>> + Send>>;

/// A blob that is not here.
pub(super) trait Far: Send + Sync {
    /// Its bytes from one up to, not with, another.
    fn part(&self, start: u64, end: u64) -> Coming;
}

/// A blob.
pub(super) enum Content {
    File(File),
    Far(Arc<dyn Far>),
}

/// Blobs by their digests. Errors are those of [`Blobs`].
pub(super) trait Contents: Send + Sync {
    /// Starts or resumes an ingest, which is on this disk whatever becomes of it.
    fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>>;
    /// A blob to be given out.
    fn open(&self, digest: &Digest) -> Result<Content>;
    /// A blob as a file here, if need be a copy that goes when it is closed.
    fn file(&self, digest: &Digest) -> Result<File>;
    /// The size in bytes, or `None` when absent.
    fn size(&self, digest: &Digest) -> Result<Option<u64>>;
    /// Removes a blob; nothing happens if it is absent.
    fn remove(&self, digest: &Digest) -> Result<()>;
    /// Every blob with its size in bytes.
    fn list(&self) -> Result<Vec<(Digest, u64)>>;
    /// Stores bytes already in memory and returns their digest.
    fn put(&self, content: &[u8]) -> Result<Digest>;

    /// A small blob whole.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file(digest)?
            .read_to_end(&mut content)
            .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read {digest}"), e))?;
        Ok(content)
    }
}

/// Blobs that are files here.
pub(super) struct Here(pub(super) Arc<dyn Blobs>);

impl Contents for Here {
    fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>> {
        self.0.ingest(name)
    }

    fn open(&self, digest: &Digest) -> Result<Content> {
        self.0.open(digest).map(Content::File)
    }

    fn file(&self, digest: &Digest) -> Result<File> {
        self.0.open(digest)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.0.size(digest)
    }

    fn remove(&self, digest: &Digest) -> Result<()> {
        self.0.remove(digest)
    }

    fn list(&self) -> Result<Vec<(Digest, u64)>> {
        self.0.list()
    }

    fn put(&self, content: &[u8]) -> Result<Digest> {
        self.0.put(content)
    }
}
