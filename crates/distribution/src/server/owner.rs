//! Whose a bucket's prefix is: an object that the registry which has it writes again and again.
//!
//! Stores have no locks. So a registry does not begin where another's mark is, unless that is old by the store's clock;
//! and one that finds another's mark in place of its own changes nothing any more. A root keeps the id that it is known by: after a crash
//! a registry goes on at once.

use super::entries::fs::{read, write};
use super::remote::Remote;
use bytes::Bytes;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wharf_model::{Error, Result};

/// The mark is written so often: three writes may fail before it is old.
const RENEW: Duration = Duration::from_secs(15);
/// A mark that is older is of a registry that ended without a word.
const OLD: Duration = Duration::from_secs(60);
/// Bytes of a mark: an id and the name of a machine.
const MAX_MARK: usize = 4096;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    id: String,
    host: String,
}

/// The prefix is this registry's as long as this is kept.
pub(super) struct Owner {
    shared: Arc<Shared>,
    /// The thread that renews the mark ends when this is dropped.
    _renewing: Sender<()>,
}

struct Shared {
    remote: Remote,
    mark: Mark,
    lost: AtomicBool,
    /// Whether the mark was given back. Held while it is written.
    left: Mutex<bool>,
}

impl Owner {
    /// Makes a prefix the registry's in `root`.
    ///
    /// # Errors
    /// `Conflict` when it is another's.
    pub(super) fn take(remote: &Remote, root: &Path) -> Result<Self> {
        Self::take_if_old(remote, root, OLD)
    }

    fn take_if_old(remote: &Remote, root: &Path, old: Duration) -> Result<Self> {
        let mark = Mark { id: id_of(root)?, host: host() };
        let shared =
            Shared { remote: remote.clone(), mark, lost: AtomicBool::new(false), left: Mutex::new(false) };
        if let Some(other) = shared.other()? {
            let head = remote.wait(remote.bucket.head(&shared.key()))?;
            let age = head.and_then(|head| head.age).unwrap_or_default();
            if age < old {
                return Err(shared.taken(&other, old.saturating_sub(age)));
            }
            tracing::warn!(host = other.host, "the bucket's last registry ended without a word");
        }
        shared.write()?;
        // Of two that begin at once the later one has it.
        if let Some(other) = shared.other()? {
            return Err(shared.taken(&other, old));
        }
        let shared = Arc::new(shared);
        Ok(Self { _renewing: renewing(Arc::clone(&shared))?, shared })
    }

    /// Refuses to change what has become another's.
    ///
    /// # Errors
    /// `Conflict` when it has.
    pub(super) fn check(&self) -> Result<()> {
        match self.shared.lost.load(Ordering::Acquire) {
            false => Ok(()),
            true => {
                Err(Error::conflict("another registry has taken this one's bucket: nothing is changed here"))
            }
        }
    }

    /// Gives the prefix back, so that another need not wait. Blocks.
    pub(super) fn leave(&self) -> Result<()> {
        let shared = &self.shared;
        let mut left = shared.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left || shared.other()?.is_some() {
            return Ok(());
        }
        *left = true;
        shared.remote.wait(shared.remote.bucket.delete(&shared.key()))
    }
}

impl Shared {
    fn key(&self) -> String {
        self.remote.key("owner")
    }

    /// The mark, when it is another's.
    fn other(&self) -> Result<Option<Mark>> {
        let key = self.key();
        let Some(bytes) = self.remote.wait(self.remote.bucket.read(&key, MAX_MARK))? else { return Ok(None) };
        let mark: Mark = serde_json::from_slice(&bytes).map_err(|e| {
            Error::conflict(format!(
                "{key} in the store is not what a registry writes there ({e}): another prefix is needed"
            ))
        })?;
        Ok((mark.id != self.mark.id).then_some(mark))
    }

    fn write(&self) -> Result<()> {
        let text =
            serde_json::to_vec(&self.mark).map_err(|e| Error::internal(format!("write a mark: {e}")))?;
        self.remote.wait(self.remote.bucket.put(&self.key(), &Bytes::from(text)))
    }

    fn taken(&self, other: &Mark, left: Duration) -> Error {
        Error::conflict(format!(
            "the bucket's prefix is in use by another registry, on {}: give this one a prefix of its own, or stop the other \
             (if it is gone, try again in {} seconds)",
            other.host,
            left.as_secs() + 1
        ))
    }

    /// Writes the mark again. False when there is no more to do.
    fn renew(&self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left {
            return false;
        }
        match self.other() {
            Ok(Some(other)) => {
                self.lost.store(true, Ordering::Release);
                tracing::error!(
                    host = other.host,
                    "another registry has taken the bucket: this one changes nothing any more"
                );
                return false;
            }
            Ok(None) => {
                if let Err(error) = self.write() {
                    tracing::warn!(error = error.full(), "mark the bucket");
                }
            }
            Err(error) => tracing::warn!(error = error.full(), "look whose the bucket is"),
        }
        true
    }
}

/// Renews the mark until what is returned is dropped: a thread of its own, as a collection may take minutes.
fn renewing(shared: Arc<Shared>) -> Result<Sender<()>> {
    let (sender, ended) = channel();
    let renew = move || {
        while ended.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) && shared.renew() {}
    };
    let thread = std::thread::Builder::new().name("bucket-mark".into()).spawn(renew);
    thread.map_err(|e| Error::internal(format!("start a thread: {e}")))?;
    Ok(sender)
}

/// The id that is kept in a root, made when there is none.
fn id_of(root: &Path) -> Result<String> {
    let path = root.join("id");
    if let Some(id) = read(&path)?.filter(|id| !id.is_empty()) {
        return Ok(id);
    }
    let mut bytes = [0u8; 16];
    let random = ring::rand::SystemRandom::new();
    random.fill(&mut bytes).map_err(|_| Error::internal("the kernel gave no random bytes"))?;
    let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    write(&path, id.as_bytes())?;
    Ok(id)
}

/// This machine's name, for people.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "a machine without a name".into() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Storage;
    use super::*;

    #[test]
    fn one_registry_at_a_time_has_a_prefix() {
        let Some(server) = crate::s3::testing::Server::start() else { return };
        let storage: Storage = serde_json::from_str(&server.settings()).unwrap();
        let remote = Remote::open(&storage.s3).unwrap();
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Owner::take(&remote, one.path()).unwrap();
        let refused = Owner::take(&remote, two.path()).err().unwrap();
        assert_eq!(refused.kind(), wharf_model::ErrorKind::Conflict);
        assert!(refused.full().contains(&format!("another registry, on {}", host())), "{}", refused.full());
        // After a crash the same root goes on; after a good end anybody may.
        Owner::take(&remote, one.path()).unwrap();
        first.leave().unwrap();
        assert!(!first.shared.renew(), "what was given back is not marked again");
        let second = Owner::take(&remote, two.path()).unwrap();
        assert!(second.shared.renew() && second.check().is_ok());
        // Taken while the second was asleep: it notices, changes nothing, and leaves the other's mark alone.
        let third = Owner::take_if_old(&remote, one.path(), Duration::ZERO).unwrap();
        assert!(!second.shared.renew() && second.check().is_err());
        second.leave().unwrap();
        assert!(third.shared.renew() && third.check().is_ok());
        remote
            .wait(remote.bucket.put(&remote.key("owner"), &Bytes::from_static(b"somebody's file")))
            .unwrap();
        assert!(
            Owner::take(&remote, two.path()).err().unwrap().full().contains("not what a registry writes")
        );
    }
}
