//! The `Entries` seam: what a registry knows of its repositories, as small named values in folders.
//!
//! A folder comes to be with its first value. A value is there wholly or not at all, also after a power cut, and
//! is seen by every reader as soon as `put` returns. Content itself is in the blob store.

#[cfg(test)]
pub(super) mod conformance;
pub(super) mod fs;
pub(super) mod s3;

use std::time::Duration;
use wharf_model::Result;
use wharf_oci::digest::Digest;

/// Where a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Folder<'a> {
    /// Repositories that hold manifests, by name; empty values.
    Catalog,
    /// Blobs of a repository, by digest; empty values.
    Blobs(&'a str),
    /// Manifests of a repository, by digest; the media type.
    Manifests(&'a str),
    /// Tags of a repository; the digest.
    Tags(&'a str),
    /// Manifests of a repository about a digest, by digest; a descriptor.
    Referrers(&'a str, &'a Digest),
}

/// Named values in folders. Names have no control characters, do not begin with `.` or `_`, and have `/` only in the catalog.
pub(super) trait Entries: Send + Sync {
    /// A value; `None` when there is none.
    fn get(&self, folder: Folder<'_>, name: &str) -> Result<Option<String>>;
    /// Writes a value, in place of the one there may be.
    fn put(&self, folder: Folder<'_>, name: &str, value: &str) -> Result<()>;
    /// Removes a value; false when there is none.
    fn remove(&self, folder: Folder<'_>, name: &str) -> Result<bool>;
    /// How long ago a value was written or renewed; `None` when there is none.
    fn age(&self, folder: Folder<'_>, name: &str) -> Result<Option<Duration>>;
    /// Makes a value as young as if it were written now; nothing happens if there is none.
    fn renew(&self, folder: Folder<'_>, name: &str) -> Result<()>;
    /// The first `limit` names after `after`, in order of bytes; the memory is bound by `limit`, not by the folder.
    fn page(&self, folder: Folder<'_>, after: Option<&str>, limit: usize) -> Result<Vec<String>>;
    /// Calls `visit` with every repository that has any folder, in no order.
    fn repositories(&self, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;
    /// Takes away the empty folders of a repository.
    fn tidy(&self, repository: &str) -> Result<()>;

    /// Whether there is a value.
    fn has(&self, folder: Folder<'_>, name: &str) -> Result<bool> {
        Ok(self.age(folder, name)?.is_some())
    }

    /// Calls `visit` with every name of a folder, in order.
    fn each(&self, folder: Folder<'_>, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        /// Names held at once: 100 KiB of digests.
        const STEP: usize = 1000;
        let mut after: Option<String> = None;
        loop {
            let page = self.page(folder, after.as_deref(), STEP)?;
            page.iter().try_for_each(|name| visit(name))?;
            match page.into_iter().next_back() {
                None => return Ok(()),
                last => after = last,
            }
        }
    }
}
