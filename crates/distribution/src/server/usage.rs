//! How many bytes a repository has, for its quota.

use super::entries::Folder;
use super::store::Store;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wharf_model::{Error, ErrorKind, Result};

/// Repositories whose sum is remembered.
const MAX_REMEMBERED: usize = 1000;

/// Sums that were counted once and are kept up.
#[derive(Default)]
pub(super) struct Usage(Mutex<HashMap<String, u64>>);

impl Usage {
    fn sums(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of the blobs and manifests of a repository. What several repositories share counts in each.
    pub(super) fn of(&self, store: &Store, repository: &str) -> Result<u64> {
        if let Some(sum) = self.sums().get(repository) {
            return Ok(*sum);
        }
        let mut sum = 0;
        for folder in [Folder::Blobs(repository), Folder::Manifests(repository)] {
            store.entries.each(folder, &mut |name| {
                if let Ok(digest) = name.parse() {
                    sum += store.blobs.size(&digest)?.unwrap_or(0);
                }
                Ok(())
            })?;
        }
        let mut sums = self.sums();
        if sums.len() >= MAX_REMEMBERED {
            sums.clear();
        }
        sums.insert(repository.to_owned(), sum);
        Ok(sum)
    }

    /// Refuses what would be too much.
    pub(super) fn allow(&self, store: &Store, repository: &str, more: u64, quota: u64) -> Result<()> {
        let used = self.of(store, repository)?;
        if used.saturating_add(more) <= quota {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Forbidden,
            format!(
                "the quota of {repository} is {quota} bytes: {used} are used, {more} more do not fit; \
                 delete tags, or ask the registry's operator"
            ),
        ))
    }

    pub(super) fn add(&self, repository: &str, size: u64) {
        if let Some(sum) = self.sums().get_mut(repository) {
            *sum += size;
        }
    }

    /// Something went: it is counted again when it is asked for.
    pub(super) fn forget(&self, repository: &str) {
        self.sums().remove(repository);
    }
}
