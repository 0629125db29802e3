//! Content that requests are at work with: the collector leaves it alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wharf_oci::digest::Digest;

/// Digests between being looked at and being named by an entry.
#[derive(Default)]
pub(super) struct Holds(Mutex<State>);

#[derive(Default)]
struct State {
    held: HashMap<Digest, usize>,
    /// What was let go since the collection began that is under way; its marks may be older.
    fresh: Option<HashSet<Digest>>,
}

/// Keeps a digest from the collector until it is dropped.
pub(super) struct Held<'a> {
    holds: &'a Holds,
    digest: Digest,
}

impl Holds {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(&self, digest: &Digest) -> Held<'_> {
        *self.state().held.entry(digest.clone()).or_default() += 1;
        Held { holds: self, digest: digest.clone() }
    }

    /// A collection begins: marks are set from now on.
    pub(super) fn begin(&self) {
        self.state().fresh = Some(HashSet::new());
    }

    /// The collection is over.
    pub(super) fn end(&self) {
        self.state().fresh = None;
    }

    /// Does `remove` unless somebody works with the digest or did since the collection began; tells whether it did.
    pub(super) fn unless_held<E>(
        &self,
        digest: &Digest,
        remove: impl FnOnce() -> Result<(), E>,
    ) -> Result<bool, E> {
        let state = self.state();
        if state.held.contains_key(digest) || state.fresh.as_ref().is_some_and(|f| f.contains(digest)) {
            return Ok(false);
        }
        // Under the lock: who comes next finds the content gone, and not half so.
        remove().map(|()| true)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.holds.state();
        if let Some(count) = state.held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.digest);
            }
        }
        if let Some(fresh) = &mut state.fresh {
            fresh.insert(self.digest.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_now_or_since_the_beginning() {
        let holds = Holds::default();
        let digest = Digest::sha256(b"x");
        let removed = |holds: &Holds| holds.unless_held::<()>(&digest, || Ok(())).unwrap();
        let (one, two) = (holds.hold(&digest), holds.hold(&digest));
        drop(one);
        assert!(!removed(&holds));
        holds.begin();
        drop(two);
        assert!(!removed(&holds), "let go after the beginning");
        holds.end();
        holds.begin();
        assert!(removed(&holds));
    }
}
