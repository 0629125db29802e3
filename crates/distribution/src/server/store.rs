//! What a registry holds: repositories of manifests, tags and blobs, over the `Entries` and `Blobs` seams.
//!
//! A manifest's content is there before its entry, its entry before the tags that name it, and a tag goes before its
//! manifest: whoever follows a name finds what it names, at whatever moment the process ends.

use super::cache::Cache;
use super::contents::Contents;
use super::entries::{Entries, Folder};
use super::holds::Holds;
use super::route::Selector;
use super::usage::Usage;
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document};

/// Repositories that are written at the same time; each write waits for the disk several times.
const STRIPES: usize = 64;
/// A blob that a pusher asks for is made young again when it is older than this: the collector counts from there.
const RENEW_AFTER: Duration = Duration::from_secs(60);

/// A manifest ready to be sent.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) body: Bytes,
}

pub(super) struct Store {
    pub(super) entries: Box<dyn Entries>,
    pub(super) blobs: Arc<dyn Contents>,
    pub(super) cache: Cache,
    pub(super) holds: Holds,
    pub(super) usage: Usage,
    /// One writer a repository at a time, so that a tag never names a manifest that is being deleted, and no manifest
    /// a blob that is being collected.
    writing: [Mutex<()>; STRIPES],
}

impl Store {
    pub(super) fn new(entries: Box<dyn Entries>, blobs: Arc<dyn Contents>) -> Self {
        Self {
            entries,
            blobs,
            cache: Cache::default(),
            holds: Holds::default(),
            usage: Usage::default(),
            writing: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Keeps other writers out of a repository.
    pub(super) fn writing(&self, repository: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        repository.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0);
        self.writing[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn exists(&self, repository: &str) -> Result<bool> {
        if self.entries.has(Folder::Catalog, repository)? {
            return Ok(true);
        }
        for folder in [Folder::Blobs(repository), Folder::Manifests(repository), Folder::Tags(repository)] {
            if !self.entries.page(folder, None, 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The digest that a tag or a digest stands for.
    pub(super) fn resolve(&self, repository: &str, selector: &Selector) -> Result<Option<Digest>> {
        match selector {
            Selector::Digest(digest) => Ok(Some(digest.clone())),
            Selector::Tag(tag) => {
                let Some(text) = self.entries.get(Folder::Tags(repository), tag)? else { return Ok(None) };
                let unreadable =
                    |e| Error::wrap(ErrorKind::Internal, format!("read the tag {tag} of {repository}"), e);
                text.parse().map(Some).map_err(unreadable)
            }
        }
    }

    /// A manifest that is in memory.
    pub(super) fn cached(&self, repository: &str, selector: &Selector) -> Option<Arc<Stored>> {
        self.cache.get(repository, selector.as_str())
    }

    /// A manifest from the disk, verified, and kept in memory from now on.
    pub(super) fn manifest(&self, repository: &str, selector: &Selector) -> Result<Option<Arc<Stored>>> {
        let generation = self.cache.generation();
        let Some(digest) = self.resolve(repository, selector)? else { return Ok(None) };
        let Some(media_type) = self.entries.get(Folder::Manifests(repository), digest.as_str())? else {
            return Ok(None);
        };
        let body = self.content(&digest)?;
        let stored = Arc::new(Stored { digest, media_type, body });
        self.cache.fill(generation, repository, selector.as_str(), &stored);
        Ok(Some(stored))
    }

    /// The content of a manifest; what the disk has changed is not given out.
    pub(super) fn content(&self, digest: &Digest) -> Result<Bytes> {
        let body = self.blobs.read(digest)?;
        let real = super::manifests::hash_like(digest, &body);
        if real != *digest {
            return Err(Error::internal(format!("manifest {digest} is damaged: it has the digest {real}")));
        }
        Ok(body.into())
    }

    /// Puts a manifest in a repository: content, entry, referrer, tags, in this order. `check` is asked when no other
    /// writer can come between any more.
    pub(super) fn put_manifest<E: From<Error>>(
        &self,
        repository: &str,
        tags: &[String],
        manifest: &Stored,
        subject: Option<(&Digest, &Descriptor)>,
        check: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let digest = &manifest.digest;
        let _held = self.holds.hold(digest);
        self.put_content(manifest)?;
        let _writing = self.writing(repository);
        check()?;
        self.entries.put(Folder::Manifests(repository), digest.as_str(), &manifest.media_type)?;
        if let Some((subject, descriptor)) = subject {
            let text = serde_json::to_string(descriptor)
                .map_err(|e| Error::wrap(ErrorKind::Internal, "write a descriptor", e))?;
            self.entries.put(Folder::Referrers(repository, subject), digest.as_str(), &text)?;
        }
        for tag in tags {
            self.entries.put(Folder::Tags(repository), tag, digest.as_str())?;
        }
        if !self.entries.has(Folder::Catalog, repository)? {
            self.entries.put(Folder::Catalog, repository, "")?;
        }
        self.cache.forget(repository);
        self.usage.forget(repository);
        Ok(())
    }

    fn put_content(&self, manifest: &Stored) -> Result<()> {
        if manifest.digest.algorithm() != "sha512" {
            return self.blobs.put(&manifest.body).map(drop);
        }
        if self.blobs.size(&manifest.digest)?.is_some() {
            return Ok(());
        }
        // A name of its own for each, so that two who push the same do not meet.
        let mut ingest = self.blobs.ingest(&format!("manifest-{}-{:p}", manifest.digest, manifest))?;
        ingest.restart()?;
        std::io::Write::write_all(&mut ingest, &manifest.body)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write a manifest", e))?;
        ingest.commit(Some(&manifest.digest)).map(drop)
    }

    /// Removes a tag, or a manifest with all its tags; false when there is none.
    pub(super) fn delete_manifest(&self, repository: &str, selector: &Selector) -> Result<bool> {
        let _writing = self.writing(repository);
        let removed = match selector {
            Selector::Tag(tag) => self.entries.remove(Folder::Tags(repository), tag)?,
            Selector::Digest(digest) => self.remove_manifest(repository, digest)?,
        };
        self.cache.forget(repository);
        self.usage.forget(repository);
        self.leave_if_empty(repository)?;
        Ok(removed)
    }

    /// The tags of a repository that name a digest.
    pub(super) fn tags_of(&self, repository: &str, digest: &Digest) -> Result<Vec<String>> {
        let mut found = Vec::new();
        self.entries.each(Folder::Tags(repository), &mut |tag| {
            if self.entries.get(Folder::Tags(repository), tag)?.as_deref() == Some(digest.as_str()) {
                found.push(tag.to_owned());
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Removes a manifest with its tags and its place among referrers, for one who keeps other writers out.
    pub(super) fn remove_manifest(&self, repository: &str, digest: &Digest) -> Result<bool> {
        if !self.entries.has(Folder::Manifests(repository), digest.as_str())? {
            return Ok(false);
        }
        for tag in self.tags_of(repository, digest)? {
            self.entries.remove(Folder::Tags(repository), &tag)?;
        }
        let subject = match self.content(digest) {
            Ok(body) => Document::parse(&body, None).ok().and_then(|d| d.subject().map(|s| s.digest.clone())),
            Err(error) => {
                tracing::warn!(
                    error = error.full(),
                    "a deleted manifest cannot be read: its referrer entry may stay"
                );
                None
            }
        };
        if let Some(subject) = subject {
            self.entries.remove(Folder::Referrers(repository, &subject), digest.as_str())?;
        }
        self.entries.remove(Folder::Manifests(repository), digest.as_str())
    }

    /// Takes a repository without manifests out of the catalog, for one who keeps other writers out.
    pub(super) fn leave_if_empty(&self, repository: &str) -> Result<()> {
        if self.entries.page(Folder::Manifests(repository), None, 1)?.is_empty() {
            self.entries.remove(Folder::Catalog, repository)?;
            self.entries.tidy(repository)?;
        }
        Ok(())
    }

    /// Descriptors of the manifests about a digest, in order of digest.
    pub(super) fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>> {
        let folder = Folder::Referrers(repository, subject);
        let mut found = Vec::new();
        self.entries.each(folder, &mut |name| {
            if let Some(text) = self.entries.get(folder, name)? {
                let descriptor = serde_json::from_str(&text);
                found.push(descriptor.map_err(|e| {
                    Error::wrap(ErrorKind::Internal, format!("read the referrer {name} of {subject}"), e)
                })?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The size of a blob that belongs to a repository.
    pub(super) fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<u64>> {
        let name = digest.as_str();
        if self.entries.has(Folder::Blobs(repository), name)?
            || self.entries.has(Folder::Manifests(repository), name)?
        {
            return self.blobs.size(digest);
        }
        Ok(None)
    }

    /// Tells the collector that somebody counts on a blob.
    pub(super) fn renew_blob(&self, repository: &str, digest: &Digest) -> Result<()> {
        let (folder, name) = (Folder::Blobs(repository), digest.as_str());
        match self.entries.age(folder, name)? {
            Some(age) if age > RENEW_AFTER => self.entries.renew(folder, name),
            _ => Ok(()),
        }
    }

    /// Makes a blob of the store one of a repository; false when the store has no such blob. `Forbidden` when the
    /// repository would have more than `quota` bytes.
    pub(super) fn link_blob(&self, repository: &str, digest: &Digest, quota: Option<u64>) -> Result<bool> {
        let _held = self.holds.hold(digest);
        let Some(size) = self.blobs.size(digest)? else { return Ok(false) };
        let _writing = self.writing(repository);
        let (folder, name) = (Folder::Blobs(repository), digest.as_str());
        if self.entries.has(folder, name)? {
            self.entries.renew(folder, name)?;
            return Ok(true);
        }
        if let Some(quota) = quota {
            self.usage.allow(self, repository, size, quota)?;
        }
        self.entries.put(folder, name, "")?;
        self.usage.add(repository, size);
        Ok(true)
    }

    /// Takes a blob out of a repository; false when it was not in it.
    pub(super) fn unlink_blob(&self, repository: &str, digest: &Digest) -> Result<bool> {
        let _writing = self.writing(repository);
        self.usage.forget(repository);
        self.entries.remove(Folder::Blobs(repository), digest.as_str())
    }

    /// A repository that has a blob, of those that `may` allows.
    pub(super) fn holder(&self, digest: &Digest, may: &dyn Fn(&str) -> bool) -> Result<Option<String>> {
        if self.blobs.size(digest)?.is_none() {
            return Ok(None);
        }
        let mut found = None;
        self.entries.repositories(&mut |name| {
            if found.is_none() && may(name) && self.entries.has(Folder::Blobs(name), digest.as_str())? {
                found = Some(name.to_owned());
            }
            Ok(())
        })?;
        Ok(found)
    }
}
