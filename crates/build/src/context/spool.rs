//! The file that contents of a context are in. What was written stays as it is, so that a later context of the same directory
//! may have the same contents at the same places.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;

/// A temporary file without a name: the kernel takes it back when it is closed, whatever happens.
pub(crate) fn spool(scratch: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed =
        |e| Error::wrap(ErrorKind::Internal, format!("make a temporary file in {}", scratch.display()), e);
    std::fs::create_dir_all(scratch).map_err(failed)?;
    // open(2), O_TMPFILE: __O_TMPFILE with O_DIRECTORY.
    let flags = i32::try_from(rustix::fs::OFlags::TMPFILE.bits()).unwrap_or_default();
    File::options().read(true).write(true).mode(0o600).custom_flags(flags).open(scratch).map_err(failed)
}

/// Such a file, and what is known of it.
pub(crate) struct Spool {
    pub(crate) file: File,
    end: AtomicU64,
    /// Digests of contents by place and length.
    digests: Mutex<HashMap<(u64, u64), Digest>>,
}

impl Spool {
    /// A file with `end` bytes in it.
    pub(crate) fn new(file: File, end: u64) -> Self {
        Self { file, end: AtomicU64::new(end), digests: Mutex::default() }
    }

    /// Keeps a place free; `None` when there is no room for a file so big.
    pub(crate) fn reserve(&self, size: u64) -> Option<u64> {
        self.end.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |end| end.checked_add(size)).ok()
    }

    /// Bytes that were kept free, all together.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// The digest of a content, found out once.
    pub(crate) fn digest(
        &self,
        (at, size): (u64, u64),
        find: impl FnOnce() -> Result<Digest>,
    ) -> Result<Digest> {
        let known = |digests: &Mutex<HashMap<_, Digest>>| {
            digests.lock().unwrap_or_else(PoisonError::into_inner).get(&(at, size)).cloned()
        };
        if let Some(digest) = known(&self.digests) {
            return Ok(digest);
        }
        let digest = find()?;
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert((at, size), digest.clone());
        Ok(digest)
    }
}
