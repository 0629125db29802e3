//! Directories of clients as they last came: of a directory that is built again only what changed has to come.
//!
//! They are nameless files that go with the engine's process, and what `docker buildx du` shows and `prune` lets go of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharf_build::Context;
use wharf_engine::clock::now_ns;
use wharf_oci::digest::Digest;

/// How many are kept: those somebody works on.
const MOST: usize = 8;
/// Bytes that one has at least: what is smaller comes again at once.
const MIN_BYTES: u64 = 128 << 10;
/// Bytes of the disk that all of them may take.
const MAX_BYTES: u64 = 2 << 30;
/// How long one is kept that does not come again, as BuildKit does.
const MAX_AGE_NS: i128 = 48 * 3600 * 1_000_000_000;
/// Files that one may have: their names are in memory.
const MAX_FILES: usize = 100_000;

/// One directory, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// 64 hex digits.
    pub id: String,
    /// What the client calls it: `context`, `dockerfile`.
    pub name: String,
    /// Bytes on the disk.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub created_ns: i128,
    /// Nanoseconds since 1970.
    pub used_ns: i128,
    /// How often it came.
    pub uses: u64,
}

struct Known {
    about: Directory,
    context: Arc<Context>,
}

/// All of them, the longest unused first. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<Known>>>);

impl Kept {
    fn all(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a directory that a client calls so, seen through these patterns. `None`: it is another each time.
    pub(crate) fn id(shared_key: &str, name: &str, patterns: &[&[String]]) -> Option<String> {
        let text = format!("{shared_key:?} {name:?} {patterns:?}");
        (!shared_key.is_empty()).then(|| Digest::sha256(text.as_bytes()).hex().to_owned())
    }

    /// As it last came, if its file is worth to be gone on with.
    pub(crate) fn last(&self, id: &str) -> Option<Arc<Context>> {
        let found =
            self.all().iter().find(|known| known.about.id == id).map(|known| Arc::clone(&known.context));
        found.filter(|context| context.is_lean())
    }

    /// Keeps it for the next time.
    pub(crate) fn keep(&self, id: String, name: &str, context: &Arc<Context>) {
        if context.count() > MAX_FILES || context.bytes() < MIN_BYTES {
            return;
        }
        let mut all = self.all();
        let old = all.iter().position(|known| known.about.id == id).map(|at| all.remove(at).about);
        let now = now_ns();
        all.retain(|known| now - known.about.used_ns < MAX_AGE_NS);
        let about = Directory {
            id,
            name: name.to_owned(),
            size: context.taken(),
            created_ns: old.as_ref().map_or(now, |old| old.created_ns),
            used_ns: now,
            uses: old.map_or(1, |old| old.uses + 1),
        };
        all.push(Known { about, context: Arc::clone(context) });
        let taken = |all: &[Known]| all.iter().map(|known| known.about.size).sum::<u64>();
        while all.len() > MOST || taken(&all) > MAX_BYTES {
            all.remove(0);
        }
    }

    /// The list of them.
    pub(crate) fn list(&self) -> Vec<Directory> {
        self.all().iter().map(|known| known.about.clone()).collect()
    }

    /// Lets one go. False: it is gone already.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut all = self.all();
        let before = all.len();
        all.retain(|known| known.about.id != id);
        all.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_build::context::Gather;
    use wharf_oci::tar::{Entry, Kind};

    #[test]
    fn the_longest_unused_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let context = || {
            let mut gather = Gather::new(scratch.path()).unwrap();
            gather.add(Entry { size: MIN_BYTES, ..Entry::new(Kind::File, "f") }).unwrap();
            Arc::new(gather.finish())
        };
        let kept = Kept::default();
        for number in 0..MOST {
            kept.keep(number.to_string(), "context", &context());
        }
        kept.keep("0".to_owned(), "context", &context());
        let small = Gather::new(scratch.path()).unwrap().finish();
        kept.keep("small".to_owned(), "context", &Arc::new(small));
        kept.keep("more".to_owned(), "context", &context());
        assert!(kept.last("0").is_some() && kept.last("1").is_none() && kept.last("more").is_some());
        assert_eq!(kept.list().iter().find(|d| d.id == "0").unwrap().uses, 2);
        assert!(kept.remove("0") && !kept.remove("0"));
        assert_eq!(Kept::id("", "context", &[]), None);
        assert_ne!(
            Kept::id("k", "context", &[&["a".to_owned()], &[]]),
            Kept::id("k", "context", &[&[], &["a".to_owned()]])
        );
    }
}
