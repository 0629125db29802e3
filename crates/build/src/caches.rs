//! Directories that `RUN --mount=type=cache` keeps from build to build.
//!
//! ```text
//! ROOT/HASH/data     what commands see
//! ROOT/HASH/about    what it is, when it was made and last used; damaged or absent, it is made anew
//! ROOT/HASH/partial  it did not get all it begins with yet, or is being removed: it is made anew
//! ```
//! HASH is that of the cache's name. Only this process uses them, so who uses what is kept in memory.

use crate::dockerfile::Sharing;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;

/// The file that says that a cache is not whole.
const PARTIAL: &str = "partial";

/// All caches below one directory. Cheap to clone.
#[derive(Clone)]
pub struct Caches {
    root: PathBuf,
    uses: Arc<Uses>,
}

#[derive(Default)]
struct Uses {
    by_key: Mutex<HashMap<String, Use>>,
    ended: Notify,
}

/// How a cache is used now; it is used when it is here.
struct Use {
    count: usize,
    alone: bool,
}

/// What is known of a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its name in Dockerfiles.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created_ns: i128,
    /// Nanoseconds since 1970.
    pub used_ns: i128,
    /// How often a step has had it.
    pub uses: u64,
}

/// One cache, as `system df -v` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// 64 hex digits.
    pub id: String,
    /// What is known of it.
    pub about: About,
    /// Bytes on the disk.
    pub size: u64,
    /// Whether a step has it now.
    pub in_use: bool,
}

/// How a cache begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

/// A cache in use; it is free when this is dropped.
pub(crate) struct Lease {
    pub(crate) path: PathBuf,
    /// Nobody has written to it yet. Until [`Lease::begun`] nobody else gets it, and when that does not come it is made anew.
    pub(crate) is_new: bool,
    sharing: Sharing,
    key: String,
    uses: Arc<Uses>,
}

impl Lease {
    /// It has what it begins with. Blocks.
    pub(crate) fn begun(&mut self) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let mark = self.path.with_file_name(PARTIAL);
        std::fs::remove_file(&mark).map_err(failed("remove", &mark))?;
        self.is_new = false;
        if let Some(using) = self.uses.lock().get_mut(&self.key) {
            using.alone = self.sharing != Sharing::Shared;
        }
        self.uses.ended.notify_waiters();
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut by_key = self.uses.lock();
        if let Some(using) = by_key.get_mut(&self.key) {
            using.count -= 1;
            if using.count == 0 {
                by_key.remove(&self.key);
            }
        }
        drop(by_key);
        self.uses.ended.notify_waiters();
    }
}

impl Uses {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a cache if it can be had now. Whether that is alone is asked when nobody can take or give back one.
    fn take(&self, key: &str, alone: impl FnOnce() -> bool) -> bool {
        let mut by_key = self.lock();
        let alone = alone();
        match by_key.get_mut(key) {
            None => drop(by_key.insert(key.to_owned(), Use { count: 1, alone })),
            Some(using) if !alone && !using.alone => using.count += 1,
            Some(_) => return false,
        }
        true
    }
}

fn failed(doing: &str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let text = format!("{doing} {}", path.display());
    move |e| Error::wrap(ErrorKind::Internal, text.clone(), e)
}

fn key_of(name: &str) -> String {
    Digest::sha256(name.as_bytes()).hex().to_owned()
}

impl Caches {
    /// Those below a directory, which is made when it is needed.
    pub fn new(root: PathBuf) -> Self {
        Self { root, uses: Arc::default() }
    }

    /// Waits until the cache can be had, and makes it if it is not there.
    pub(crate) async fn take(&self, name: &str, sharing: Sharing, beginning: Beginning) -> Result<Lease> {
        let name = match sharing {
            Sharing::Private => self.free(name),
            _ => name.to_owned(),
        };
        let key = key_of(&name);
        let path = self.root.join(&key);
        if sharing != Sharing::Private {
            loop {
                let mut ended = std::pin::pin!(self.uses.ended.notified());
                ended.as_mut().enable();
                if self.uses.take(&key, || sharing != Sharing::Shared || !is_whole(&path)) {
                    break;
                }
                ended.await;
            }
        }
        let uses = Arc::clone(&self.uses);
        let mut lease = Lease { path: path.join("data"), is_new: false, sharing, key, uses };
        super::executor::blocking(move || {
            lease.is_new = begin(&path, &name, beginning)?;
            Ok(lease)
        })
        .await
    }

    /// Takes the first of a private cache's directories that nobody has.
    fn free(&self, name: &str) -> String {
        let names = std::iter::once(name.to_owned()).chain((1..).map(|at: usize| format!("{name}\n{at}")));
        let mut names = names;
        loop {
            let Some(name) = names.next() else { return name.to_owned() };
            if self.uses.take(&key_of(&name), || true) {
                return name;
            }
        }
    }

    /// Every cache. It reads through all of them.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", &self.root))?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &self.root))?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if id.len() != 64 {
                continue;
            }
            let about = read_about(&entry.path());
            let size = size_of(&entry.path().join("data"))?;
            let in_use = self.uses.lock().contains_key(&id);
            listed.push(Listed { id, about, size, in_use });
        }
        listed.sort_by(|a, b| a.about.used_ns.cmp(&b.about.used_ns).then_with(|| a.id.cmp(&b.id)));
        Ok(listed)
    }

    /// Removes a cache; false when a step has it.
    pub fn remove(&self, id: &str) -> Result<bool> {
        if id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid(format!("no id of a cache: {id}")));
        }
        if !self.uses.take(id, || true) {
            return Ok(false);
        }
        let lease = Lease {
            path: self.root.join(id),
            is_new: false,
            sharing: Sharing::Locked,
            key: id.to_owned(),
            uses: Arc::clone(&self.uses),
        };
        if !lease.path.exists() {
            return Ok(true);
        }
        // What is left when this is broken off is no cache any more.
        mark(&lease.path)?;
        remove_tree(&lease.path.join("data"))?;
        remove_tree(&lease.path)?;
        Ok(true)
    }
}

fn mark(path: &Path) -> Result<()> {
    let mark = path.join(PARTIAL);
    std::fs::write(&mark, "").map_err(failed("write", &mark))
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

fn is_whole(path: &Path) -> bool {
    path.join("data").exists() && !path.join(PARTIAL).exists()
}

/// Makes a cache that is not there, and notes that it is used; true for a new one, which is marked as not whole.
fn begin(path: &Path, name: &str, beginning: Beginning) -> Result<bool> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))?;
    let (data, now) = (path.join("data"), wharf_engine::clock::now_ns());
    let is_new = !is_whole(path);
    if is_new {
        mark(path)?;
        remove_tree(&data)?;
        std::fs::create_dir(&data).map_err(failed("make", &data))?;
        let (uid, gid) = beginning.owner;
        chown(&data, Some(uid), Some(gid)).map_err(failed("set the owner of", &data))?;
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(beginning.mode))
            .map_err(failed("set the mode of", &data))?;
    }
    let before = if is_new { About::default() } else { read_about(path) };
    let created_ns = if before.created_ns == 0 { now } else { before.created_ns };
    let about = About { name: name.replace('\n', "."), created_ns, used_ns: now, uses: before.uses + 1 };
    let text = serde_json::to_vec(&about).unwrap_or_default();
    let (new, kept) = (path.join("about.new"), path.join("about"));
    std::fs::write(&new, text).map_err(failed("write", &new))?;
    std::fs::rename(&new, &kept).map_err(failed("write", &kept))?;
    Ok(is_new)
}

fn read_about(path: &Path) -> About {
    let text = std::fs::read(path.join("about")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Bytes of a tree on the disk; what goes away meanwhile counts nothing.
fn size_of(path: &Path) -> Result<u64> {
    let mut pending = vec![path.to_owned()];
    let mut size = 0;
    while let Some(path) = pending.pop() {
        let entries = match std::fs::read_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed("list", &path))?,
        };
        for entry in entries.flatten() {
            let Ok(found) = entry.path().symlink_metadata() else { continue };
            size += found.blocks() * 512;
            if found.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn caches() -> (Caches, tempfile::TempDir, Beginning) {
        let root = tempfile::tempdir().unwrap();
        let own = std::fs::metadata(root.path()).unwrap();
        let beginning = Beginning { mode: 0o750, owner: (own.uid(), own.gid()) };
        (Caches::new(root.path().join("caches")), root, beginning)
    }

    async fn have(caches: &Caches, name: &str, sharing: Sharing, beginning: Beginning) -> Lease {
        let mut lease = caches.take(name, sharing, beginning).await.unwrap();
        lease.begun().unwrap();
        lease
    }

    #[tokio::test]
    async fn one_that_did_not_begin_is_made_anew() {
        let (caches, _root, beginning) = caches();
        let lease = caches.take("c", Sharing::Shared, beginning).await.unwrap();
        std::fs::write(lease.path.join("half"), "").unwrap();
        let mut other = Box::pin(caches.take("c", Sharing::Shared, beginning));
        assert!((&mut other).now_or_never().is_none(), "it is not whole yet");
        // As when the engine is killed, too: nothing is done at the end.
        drop(lease);
        let mut lease = other.await.unwrap();
        assert!(lease.is_new && !lease.path.join("half").exists());
        lease.begun().unwrap();
        assert!(!have(&caches, "c", Sharing::Shared, beginning).await.is_new, "both have it");
    }

    #[tokio::test]
    async fn what_is_kept_and_pruned() {
        let (caches, _root, beginning) = caches();
        assert_eq!(caches.list().unwrap(), []);
        let mut lease = caches.take("/c", Sharing::Shared, beginning).await.unwrap();
        assert!(lease.is_new);
        lease.begun().unwrap();
        assert_eq!(std::fs::metadata(&lease.path).unwrap().mode() & 0o7777, 0o750);
        std::fs::write(lease.path.join("a"), vec![1; 9000]).unwrap();
        let [listed] = &caches.list().unwrap()[..] else { panic!() };
        assert!(listed.in_use && listed.size >= 9000 && listed.about.name == "/c", "{listed:?}");
        assert!(!caches.remove(&listed.id).unwrap(), "it is in use");
        drop(lease);
        let again = caches.take("/c", Sharing::Locked, beginning).await.unwrap();
        assert!(!again.is_new && again.path.join("a").exists());
        assert_eq!(caches.list().unwrap()[0].about.uses, 2);
        drop(again);
        assert!(caches.remove(&listed.id).unwrap());
        assert_eq!(caches.list().unwrap(), []);
        assert!(caches.remove("../x").is_err());
    }

    #[tokio::test]
    async fn how_it_is_shared() {
        let (caches, _root, beginning) = caches();
        let first = have(&caches, "c", Sharing::Shared, beginning).await;
        let second = have(&caches, "c", Sharing::Shared, beginning).await;
        assert_eq!(first.path, second.path);
        let mut locked = Box::pin(caches.take("c", Sharing::Locked, beginning));
        assert!((&mut locked).now_or_never().is_none(), "others have it");
        let private = have(&caches, "c", Sharing::Private, beginning).await;
        assert_ne!(private.path, first.path);
        drop(first);
        assert!((&mut locked).now_or_never().is_none());
        drop(second);
        let locked = locked.await.unwrap();
        assert_eq!(caches.list().unwrap().len(), 2);
        let mut waiting = Box::pin(caches.take("c", Sharing::Shared, beginning));
        assert!((&mut waiting).now_or_never().is_none(), "one has it alone");
        drop(locked);
        waiting.await.unwrap();
    }
}
