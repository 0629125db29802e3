//! Verified manifests in memory.

use super::store::Stored;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of manifests in each of the two halves: the registry as a whole is to stay within 20 MiB.
const HALF: usize = 2 << 20;
/// What a small manifest takes besides its body.
const OVERHEAD: usize = 600;

type Half = HashMap<String, HashMap<String, Arc<Stored>>>;

/// Manifests by repository and by tag or digest. When the young half is full it becomes the old one; what is asked
/// for again moves back, the rest goes.
#[derive(Default)]
pub(super) struct Cache {
    state: Mutex<State>,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

#[derive(Default)]
struct State {
    young: Half,
    old: Half,
    size: usize,
    /// Raised by every change: a reader that began before may not fill the cache with what it read.
    generation: u64,
}

impl State {
    fn insert(&mut self, repository: &str, name: &str, stored: Arc<Stored>) {
        let size = stored.body.len() + OVERHEAD;
        if self.size + size > HALF {
            self.old = std::mem::take(&mut self.young);
            self.size = 0;
        }
        self.size += size;
        self.young.entry(repository.to_owned()).or_default().insert(name.to_owned(), stored);
    }
}

impl Cache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, repository: &str, name: &str) -> Option<Arc<Stored>> {
        let mut state = self.state();
        let mut found = state.young.get(repository).and_then(|m| m.get(name)).cloned();
        if found.is_none() {
            found = state.old.get_mut(repository).and_then(|m| m.remove(name));
            if let Some(stored) = &found {
                state.insert(repository, name, Arc::clone(stored));
            }
        }
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// What [`Cache::fill`] wants to know of the time before the reading.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    pub(super) fn fill(&self, generation: u64, repository: &str, name: &str, stored: &Arc<Stored>) {
        let mut state = self.state();
        if state.generation == generation && stored.body.len() < HALF / 4 {
            state.insert(repository, name, Arc::clone(stored));
        }
    }

    pub(super) fn forget(&self, repository: &str) {
        let mut state = self.state();
        state.generation += 1;
        state.old.remove(repository);
        if let Some(gone) = state.young.remove(repository) {
            state.size -= gone.values().map(|m| m.body.len() + OVERHEAD).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_oci::digest::Digest;

    fn stored(size: usize) -> Arc<Stored> {
        let body = bytes::Bytes::from(vec![b'x'; size]);
        Arc::new(Stored { digest: Digest::sha256(&body), media_type: "x".into(), body })
    }

    #[test]
    fn bounded_and_forgetful() {
        let cache = Cache::default();
        let generation = cache.generation();
        cache.fill(generation, "a", "kept", &stored(10));
        for n in 0..80 {
            cache.fill(generation, "b", &n.to_string(), &stored(100_000));
            assert!(cache.get("a", "kept").is_some(), "what is asked for stays, {n}");
            assert!(cache.state().size <= HALF);
        }
        assert!(cache.get("b", "0").is_none());
        cache.forget("a");
        assert!(cache.get("a", "kept").is_none());
        cache.fill(generation, "a", "late", &stored(10));
        assert!(cache.get("a", "late").is_none(), "read before the change");
    }
}
