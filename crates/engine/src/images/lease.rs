//! Who holds blobs and layers that no image names yet, and who is fetching what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;
use wharf_oci::digest::Digest;

/// How often each digest (a blob's, or a chain id) is held.
pub(super) type Leases = Arc<Mutex<HashMap<Digest, usize>>>;

/// Keeps blobs and layers from being collected until it is dropped.
pub(super) struct Lease {
    table: Leases,
    held: Mutex<Vec<Digest>>,
}

fn locked(table: &Leases) -> MutexGuard<'_, HashMap<Digest, usize>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    pub(super) fn table() -> Leases {
        Leases::default()
    }

    pub(super) fn new(table: &Leases) -> Self {
        Self { table: Arc::clone(table), held: Mutex::default() }
    }

    /// Holds a digest. Take it before looking whether the thing is there.
    pub(super) fn hold(&self, digest: &Digest) {
        *locked(&self.table).entry(digest.clone()).or_default() += 1;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(digest.clone());
    }

    /// Whether anyone holds a digest, asked with the table locked so that nobody starts to meanwhile.
    pub(super) fn while_free<T>(table: &Leases, digest: &Digest, work: impl FnOnce() -> T) -> Option<T> {
        let table = locked(table);
        if table.contains_key(digest) { None } else { Some(work()) }
    }

    pub(super) fn held(&self) -> Vec<Digest> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = locked(&self.table);
        for digest in self.held() {
            if let Some(count) = table.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    table.remove(&digest);
                }
            }
        }
    }
}

/// One transfer or unpacking of each digest at a time: who comes second waits, and finds it done.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>>);

impl Flights {
    pub(super) async fn join(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            table.retain(|_, lock| lock.strong_count() > 0);
            match table.get(digest).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(tokio::sync::Mutex::new(()));
                    table.insert(digest.clone(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}
