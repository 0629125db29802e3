//! Who holds blobs and layers that no image names yet, and who is fetching what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard};
use wharf_oci::digest::Digest;

/// How often each digest (a blob's, or a chain id) is held.
pub(super) type Leases = Arc<Mutex<HashMap<Digest, usize>>>;

/// Keeps blobs and layers from being collected until it is dropped.
pub(super) struct Lease {
    table: Leases,
    held: Mutex<Vec<Digest>>,
    /// Held for reading by work on blocking threads, which goes on when what waits for it is given up.
    at_work: Arc<tokio::sync::RwLock<()>>,
}

fn locked(table: &Leases) -> MutexGuard<'_, HashMap<Digest, usize>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    pub(super) fn table() -> Leases {
        Leases::default()
    }

    pub(super) fn new(table: &Leases) -> Self {
        Self { table: Arc::clone(table), held: Mutex::default(), at_work: Arc::default() }
    }

    /// Holds a digest. Take it before looking whether the thing is there.
    pub(super) fn hold(&self, digest: &Digest) {
        *locked(&self.table).entry(digest.clone()).or_default() += 1;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(digest.clone());
    }

    /// To be kept by work on a blocking thread that makes what is held.
    pub(super) async fn at_work(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.at_work).read_owned().await
    }

    /// Waits for that work: what it makes may be collected only afterwards.
    pub(super) async fn idle(&self) {
        drop(self.at_work.write().await);
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

/// Layers that were committed and wait for the image they are for.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<PendingState>);

#[derive(Default)]
struct PendingState {
    /// Held for reading from a layer's appearance until it is waiting, for writing while garbage is collected.
    collecting: RwLock<()>,
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    layer: Digest,
    since: Instant,
    _lease: Lease,
}

/// A step that has not made its image after this time never will: its build failed.
const MAX_WAIT: Duration = Duration::from_secs(3600);

impl Pending {
    /// Commits a layer that nobody collects before its image is there. `commit` returns its digests, the one
    /// that images name it by first.
    pub(super) fn commit<T, E>(
        &self,
        table: &Leases,
        commit: impl FnOnce() -> Result<(T, Vec<Digest>), E>,
    ) -> Result<T, E> {
        let _guard = self.0.collecting.read().unwrap_or_else(PoisonError::into_inner);
        let (value, digests) = commit()?;
        let lease = Lease::new(table);
        for digest in &digests {
            lease.hold(digest);
        }
        if let Some(layer) = digests.into_iter().next() {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.retain(|one| one.since.elapsed() < MAX_WAIT);
            waiting.push(Waiting { layer, since: Instant::now(), _lease: lease });
        }
        Ok(value)
    }

    /// The layers have an image now.
    pub(super) fn settle<'a>(&self, layers: impl Iterator<Item = &'a Digest>) {
        let layers: Vec<&Digest> = layers.collect();
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|one| !layers.contains(&&one.layer));
    }

    /// Keeps new layers from appearing while garbage is collected.
    pub(super) fn collecting(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.collecting.write().unwrap_or_else(PoisonError::into_inner)
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
