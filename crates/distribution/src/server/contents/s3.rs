//! Contents in a bucket of an S3-compatible store: `<prefix>blobs/<algorithm>/<hex>`.
//!
//! What comes is gathered on this disk, so that an upload goes on where it stopped and its digest is known before
//! anything leaves. It is sent when it is whole, and acknowledged when the store has it.

use super::super::remote::Remote;
use super::super::reply::Body;
use super::{Coming, Content, Contents, Far};
use crate::s3::{MAX_KEYS, Query, Whole};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wharf_model::blobs::{Blobs, Ingest};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;

/// Bytes of a blob that is read into memory: a manifest, a signature.
const MAX_SMALL: usize = 4 << 20;

/// The `Contents` seam on a bucket.
#[derive(Clone)]
pub(in crate::server) struct Stored {
    remote: Remote,
    /// Where blobs are gathered. Nothing stays in it.
    spool: Arc<dyn Blobs>,
}

fn key(remote: &Remote, digest: &Digest) -> String {
    remote.key(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
}

impl Stored {
    /// Opens the bucket. What a crash left on the way is taken away: nobody was told that it is there.
    pub(in crate::server) fn open(remote: Remote, spool: Arc<dyn Blobs>) -> Result<Self> {
        for (digest, _) in spool.list()? {
            spool.remove(&digest)?;
        }
        let prefix = remote.key("blobs/");
        if let Err(error) = remote.wait(remote.bucket.abandon(&prefix)) {
            // Some stores do not list them, and have an age at which they go.
            tracing::warn!(error = error.full(), "unfinished uploads stay in the store");
        }
        Ok(Self { remote, spool })
    }

    /// Sends what was gathered. It goes from this disk either way.
    fn send(&self, digest: &Digest) -> Result<()> {
        let sent = (|| {
            let key = key(&self.remote, digest);
            let file = self.spool.open(digest);
            let there = self.remote.wait(self.remote.bucket.head(&key))?;
            let file = match file {
                // Somebody else has sent the same, and taken it away.
                Err(error) if error.kind() == ErrorKind::NotFound && there.is_some() => return Ok(()),
                file => file?,
            };
            let size = file.metadata().map_err(|e| Error::wrap(ErrorKind::Internal, "stat a blob", e))?.len();
            if there.is_some_and(|there| there.size == size) {
                return Ok(());
            }
            self.remote.wait(self.remote.bucket.upload(&Whole { key: &key, file: &file, size }))
        })();
        sent.and(self.spool.remove(digest))
    }
}

impl Contents for Stored {
    fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>> {
        Ok(Box::new(Gathered { inner: self.spool.ingest(name)?, store: self.clone() }))
    }

    fn open(&self, digest: &Digest) -> Result<Content> {
        Ok(Content::Far(Arc::new(Object { remote: self.remote.clone(), key: key(&self.remote, digest) })))
    }

    fn file(&self, digest: &Digest) -> Result<File> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut copy = self.spool.ingest(&format!("copy-{}-{number}", digest.hex()))?;
        copy.restart()?;
        let mut file = copy.reader()?;
        let key = key(&self.remote, digest);
        let mut body = self.remote.wait(self.remote.bucket.get(&key, None))?.into_body();
        while let Some(frame) = self.remote.wait_for(body.frame()) {
            let failed = |e| Error::wrap(ErrorKind::Internal, format!("get {digest} from the store"), e);
            if let Ok(bytes) = frame.map_err(|e| failed(std::io::Error::other(e)))?.into_data() {
                copy.write_all(&bytes).map_err(failed)?;
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::wrap(ErrorKind::Internal, "rewind a copy", e))?;
        // The name goes with the ingest, the file when it is closed.
        Ok(file)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let head = self.remote.wait(self.remote.bucket.head(&key(&self.remote, digest)))?;
        Ok(head.map(|head| head.size))
    }

    fn remove(&self, digest: &Digest) -> Result<()> {
        self.remote.wait(self.remote.bucket.delete(&key(&self.remote, digest)))
    }

    fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let prefix = self.remote.key("blobs/");
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let query = Query { prefix: &prefix, next: next.as_deref(), limit: MAX_KEYS, ..Query::default() };
            let page = self.remote.wait(self.remote.bucket.list(query))?;
            for (key, size) in page.keys {
                // Anything else is not ours, and not touched.
                let name = key.strip_prefix(&prefix).unwrap_or_default().replacen('/', ":", 1);
                if let Ok(digest) = name.parse() {
                    found.push((digest, size));
                }
            }
            next = page.next;
            if next.is_none() {
                found.sort();
                return Ok(found);
            }
        }
    }

    fn put(&self, content: &[u8]) -> Result<Digest> {
        let digest = Digest::sha256(content);
        let key = key(&self.remote, &digest);
        if self.remote.wait(self.remote.bucket.head(&key))?.is_none() {
            self.remote.wait(self.remote.bucket.put(&key, &Bytes::copy_from_slice(content)))?;
        }
        Ok(digest)
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let content = self.remote.wait(self.remote.bucket.read(&key(&self.remote, digest), MAX_SMALL))?;
        content.map(|bytes| bytes.to_vec()).ok_or_else(|| Error::not_found(format!("no blob {digest}")))
    }
}

/// A blob that is gathered.
struct Gathered {
    inner: Box<dyn Ingest>,
    store: Stored,
}

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl Ingest for Gathered {
    fn offset(&self) -> u64 {
        self.inner.offset()
    }

    fn restart(&mut self) -> Result<()> {
        self.inner.restart()
    }

    fn reader(&self) -> Result<File> {
        self.inner.reader()
    }

    fn keep(self: Box<Self>) -> Result<()> {
        self.inner.keep()
    }

    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<Digest> {
        let digest = self.inner.commit(expected)?;
        self.store.send(&digest)?;
        Ok(digest)
    }
}

/// An object of the bucket.
struct Object {
    remote: Remote,
    key: String,
}

impl Far for Object {
    fn part(&self, start: u64, end: u64) -> Coming {
        let (remote, key) = (self.remote.clone(), self.key.clone());
        Box::pin(async move {
            if start == end {
                return Ok(super::super::reply::empty(http::StatusCode::OK).into_body());
            }
            let answer = remote.bucket.get(&key, Some((start, end))).await?;
            let wanted = usize::try_from(end - start).unwrap_or(usize::MAX);
            // More than was asked for would end the client's connection in another way.
            let body: Body =
                Limited::new(answer.into_body(), wanted).map_err(std::io::Error::other).boxed_unsync();
            Ok(body)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::Server;
    use std::io::Read;
    use wharf_model::blobs::fake::MemoryBlobs;

    fn stored(server: &Server) -> Stored {
        let storage: super::super::super::settings::Storage =
            serde_json::from_str(&server.settings()).unwrap();
        Stored::open(Remote::open(&storage.s3).unwrap(), Arc::new(MemoryBlobs::default())).unwrap()
    }

    /// As the seam that the engine has: blobs are files.
    struct AsFiles(Stored);

    impl Blobs for AsFiles {
        fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>> {
            self.0.ingest(name)
        }
        fn open(&self, digest: &Digest) -> Result<File> {
            self.0.file(digest)
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
    }

    #[test]
    fn conforms() {
        let Some(server) = Server::start() else { return };
        wharf_model::blobs::conformance::suite(|| AsFiles(stored(&server)));
    }

    #[test]
    fn large_ones_go_in_parts_and_come_by_range() {
        let Some(server) = Server::start() else { return };
        let store = stored(&server);
        let content: Vec<u8> = (0..40_000_000u32).map(|n| (n / 1000 % 251) as u8).collect();
        let mut ingest = store.ingest("large").unwrap();
        ingest.write_all(&content).unwrap();
        let digest = ingest.commit(Some(&Digest::sha256(&content))).unwrap();
        assert_eq!(store.size(&digest).unwrap(), Some(40_000_000));
        assert!(store.spool.list().unwrap().is_empty(), "nothing stays here");
        let mut back = Vec::new();
        store.file(&digest).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == content);
        let Content::Far(far) = store.open(&digest).unwrap() else { panic!("a file") };
        let part = store.remote.wait(far.part(20_000_000, 20_000_010)).unwrap();
        let part = store.remote.wait_for(part.collect()).unwrap().to_bytes();
        assert_eq!(part[..], content[20_000_000..20_000_010]);
        let absent = store.open(&Digest::sha256(b"absent")).unwrap();
        let Content::Far(absent) = absent else { panic!("a file") };
        assert_eq!(store.remote.wait(absent.part(0, 1)).err().unwrap().kind(), ErrorKind::NotFound);
    }
}
