//! What a repository holds, as small files; the content itself is in the blob store.
//!
//! ```text
//! repositories/<name>/_blobs/<digest>             empty: the blob belongs to the repository
//! repositories/<name>/_manifests/<digest>         the media type
//! repositories/<name>/_tags/<tag>                 the digest
//! repositories/<name>/_referrers/<digest>/<digest>  a descriptor of a manifest about the first digest
//! ```
//!
//! No component of a repository's name begins with `_`. Files appear by rename after a sync, a manifest's own
//! file before the tags that name it.

use bytes::Bytes;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharf_model::blobs::Blobs;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Descriptor;

use super::route::Selector;

/// Bytes of manifests kept in memory.
const MAX_CACHED: usize = 16 << 20;

/// A manifest ready to be sent.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) body: Bytes,
}

pub(super) struct Store {
    root: PathBuf,
    pub(super) blobs: Arc<dyn Blobs>,
    cache: Mutex<Cache>,
    /// One writer of links at a time, so that a tag never names a manifest that is being deleted.
    writing: Mutex<()>,
}

#[derive(Default)]
struct Cache {
    manifests: HashMap<String, HashMap<String, Arc<Stored>>>,
    size: usize,
    /// Raised by every change: a reader that began before may not fill the cache with what it read.
    generation: u64,
}

impl Store {
    pub(super) fn open(root: &Path, blobs: Arc<dyn Blobs>) -> Result<Self> {
        let root = root.join("repositories");
        std::fs::create_dir_all(&root).map_err(|e| failed("make directory", &root, e))?;
        Ok(Self { root, blobs, cache: Mutex::default(), writing: Mutex::default() })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, repository: &str, kind: &str) -> PathBuf {
        self.root.join(repository).join(kind)
    }

    fn tag(&self, repository: &str, tag: &str) -> PathBuf {
        self.dir(repository, "_tags").join(tag)
    }

    fn manifest_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.dir(repository, "_manifests").join(digest.as_str())
    }

    fn blob_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.dir(repository, "_blobs").join(digest.as_str())
    }

    pub(super) fn exists(&self, repository: &str) -> bool {
        ["_tags", "_manifests", "_blobs"].iter().any(|kind| self.dir(repository, kind).is_dir())
    }

    /// A manifest that is in memory.
    pub(super) fn cached(&self, repository: &str, selector: &Selector) -> Option<Arc<Stored>> {
        self.cache().manifests.get(repository)?.get(selector.as_str()).cloned()
    }

    /// A manifest from the disk, kept in memory from now on.
    pub(super) fn manifest(&self, repository: &str, selector: &Selector) -> Result<Option<Arc<Stored>>> {
        let generation = self.cache().generation;
        let digest = match selector {
            Selector::Digest(digest) => digest.clone(),
            Selector::Tag(tag) => {
                let path = self.tag(repository, tag);
                let Some(text) = read(&path)? else { return Ok(None) };
                text.parse()
                    .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read {}", path.display()), e))?
            }
        };
        let Some(media_type) = read(&self.manifest_link(repository, &digest))? else { return Ok(None) };
        let mut body = Vec::new();
        let mut file = self.blobs.open(&digest)?;
        std::io::Read::read_to_end(&mut file, &mut body)
            .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read manifest {digest}"), e))?;
        let stored = Arc::new(Stored { digest, media_type, body: Bytes::from(body) });
        let mut cache = self.cache();
        if cache.generation == generation {
            if cache.size + stored.body.len() > MAX_CACHED {
                cache.manifests.clear();
                cache.size = 0;
            }
            cache.size += stored.body.len();
            let manifests = cache.manifests.entry(repository.to_owned()).or_default();
            manifests.insert(selector.as_str().to_owned(), Arc::clone(&stored));
        }
        Ok(Some(stored))
    }

    fn forget(&self, repository: &str) {
        let mut cache = self.cache();
        cache.generation += 1;
        if let Some(gone) = cache.manifests.remove(repository) {
            cache.size -= gone.values().map(|m| m.body.len()).sum::<usize>();
        }
    }

    /// Puts a manifest in a repository: content, link, referrer, tag, in this order.
    pub(super) fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        manifest: &Stored,
        subject: Option<(&Digest, &Descriptor)>,
    ) -> Result<()> {
        let digest = if manifest.digest.algorithm() == "sha512" {
            let mut ingest = self.blobs.ingest(&format!("manifest-{}", manifest.digest))?;
            ingest.restart()?;
            ingest
                .write_all(&manifest.body)
                .map_err(|e| Error::wrap(ErrorKind::Internal, "write a manifest", e))?;
            ingest.commit(Some(&manifest.digest))?
        } else {
            self.blobs.put(&manifest.body)?
        };
        let _writing = self.writing();
        write(&self.manifest_link(repository, &digest), manifest.media_type.as_bytes())?;
        if let Some((subject, descriptor)) = subject {
            let path = self.dir(repository, "_referrers").join(subject.as_str()).join(digest.as_str());
            let body = serde_json::to_vec(descriptor)
                .map_err(|e| Error::wrap(ErrorKind::Internal, "write a descriptor", e))?;
            write(&path, &body)?;
        }
        if let Some(tag) = tag {
            write(&self.tag(repository, tag), digest.as_str().as_bytes())?;
        }
        self.forget(repository);
        Ok(())
    }

    /// Removes a tag, or a manifest with all its tags; false when there is none.
    pub(super) fn delete_manifest(&self, repository: &str, selector: &Selector) -> Result<bool> {
        let _writing = self.writing();
        let removed = match selector {
            Selector::Tag(tag) => remove(&self.tag(repository, tag))?,
            Selector::Digest(digest) => {
                for tag in self.tags(repository)? {
                    let path = self.tag(repository, &tag);
                    if read(&path)?.as_deref() == Some(digest.as_str()) {
                        remove(&path)?;
                    }
                }
                let removed = remove(&self.manifest_link(repository, digest))?;
                let referrers = self.dir(repository, "_referrers");
                for subject in names(&referrers)? {
                    remove(&referrers.join(subject).join(digest.as_str()))?;
                }
                removed
            }
        };
        self.forget(repository);
        Ok(removed)
    }

    /// The tags of a repository, sorted.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>> {
        names(&self.dir(repository, "_tags"))
    }

    /// Descriptors of the manifests about a digest, in order of digest.
    pub(super) fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>> {
        let dir = self.dir(repository, "_referrers").join(subject.as_str());
        let mut found = Vec::new();
        for name in names(&dir)? {
            let path = dir.join(name);
            if let Some(text) = read(&path)? {
                let descriptor = serde_json::from_str(&text);
                found.push(
                    descriptor.map_err(|e| {
                        Error::wrap(ErrorKind::Internal, format!("read {}", path.display()), e)
                    })?,
                );
            }
        }
        Ok(found)
    }

    /// Every repository's name, sorted.
    pub(super) fn repositories(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut pending = vec![String::new()];
        while let Some(parent) = pending.pop() {
            let children = names(&self.root.join(&parent))?;
            if children.iter().any(|c| matches!(c.as_str(), "_manifests" | "_tags")) {
                found.push(parent.clone());
            }
            for child in children.iter().filter(|c| !c.starts_with('_')) {
                pending.push(if parent.is_empty() { child.clone() } else { format!("{parent}/{child}") });
            }
        }
        found.sort();
        Ok(found)
    }

    /// The size of a blob that belongs to a repository.
    pub(super) fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<u64>> {
        if self.blob_link(repository, digest).exists() || self.manifest_link(repository, digest).exists() {
            return self.blobs.size(digest);
        }
        Ok(None)
    }

    pub(super) fn link_blob(&self, repository: &str, digest: &Digest) -> Result<()> {
        let path = self.blob_link(repository, digest);
        if path.exists() { Ok(()) } else { write(&path, b"") }
    }

    /// Takes a blob out of a repository; false when it was not in it.
    pub(super) fn unlink_blob(&self, repository: &str, digest: &Digest) -> Result<bool> {
        remove(&self.blob_link(repository, digest))
    }
}

pub(super) fn failed(operation: &str, path: &Path, error: std::io::Error) -> Error {
    Error::wrap(ErrorKind::Internal, format!("{operation} {}", path.display()), error)
}

pub(super) fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(e) => Err(failed("read", path, e)),
    }
}

/// Writes a file that is there wholly or not at all, also after a power cut.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).map_err(|e| failed("make directory", dir, e))?;
    // Begins with a dot: no tag, digest or name does, so what a crash leaves is never listed.
    let part = dir.join(format!(".part-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let result = (|| {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        std::fs::File::open(dir)?.sync_all()
    })();
    result.map_err(|e| failed("write", path, e))
}

pub(super) fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(e) => Err(failed("remove", path, e)),
    }
}

pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| failed("list", dir, e))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| failed("list", dir, e))?.file_name();
        names.extend(name.to_str().filter(|n| !n.starts_with('.')).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}
