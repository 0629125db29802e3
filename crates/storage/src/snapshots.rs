//! Layers as tars that are mounted through indexes, or unpacked into directories; snapshots as overlays of them.
//!
//! ```text
//! <root>/t/<number>/tar    a layer, see `tars`
//! <root>/e/                indexes of layers, see `indexes`
//! <root>/t/<number>/fs     the files of a snapshot, or of an unpacked layer
//! <root>/t/<number>/work   overlay's scratch directory, snapshots only
//! <root>/next              a tree that is made ahead for the next snapshot
//! <root>/base              what every snapshot finds below all layers
//! <root>/empty             the second lower directory of a view of one layer
//! ```
//!
//! Directories have short names because a mount's options are limited. The records are the truth: a directory
//! that none names is what a crash left, and `recover` removes it. So nothing is renamed: a layer appears, and
//! a snapshot becomes a layer, by one batch of records.
//!
//! Durability: files of unpacked layers are not synced one by one, which would make unpacking many times slower. A
//! killed process loses nothing. After a power cut within the kernel's write-back time (30 s) a fresh layer
//! may be incomplete. A tar is synced behind the pull's back, and verified after a power cut if that was not done.

pub(crate) mod archive;
mod changes;
mod check;
pub(crate) mod extract;
pub(crate) mod hashing;
mod indexes;
pub(crate) mod inside;
pub mod layout;
pub(crate) mod merged;
mod skeleton;
mod tars;
pub(crate) mod trees;
pub(crate) mod walk;

#[cfg(test)]
mod check_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

pub(crate) use walk::size as tree_size;

use crate::disk::{below, failed, make_dir, remove_tree};
use crate::erofs::Root;
use crate::janitor::Janitor;
use archive::{Archiver, Times};
use extract::{Extractor, Whiteouts, archive_error, extract};
use hashing::{HashingReader, HashingWriter};
use layout::Layout;
use rustix::fd::{AsFd, OwnedFd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tars::{TarRecord, Waiting};
use wharf_failpoint::failpoint;
use wharf_model::idmap::IdMap;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::snapshots::{
    Condition, Layer, Live, PathChange, PathStat, Received, RootMount, Snapshots, Tree, WriteOptions,
};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, DiffId};
use wharf_oci::tar::Reader;
use wharf_sys::erofs::Mounts;

/// Layers that may lie on each other: overlayfs takes 500 lower directories, the skeleton among them.
const MAX_LAYERS: usize = 499;

/// The `Snapshots` seam on a directory. Unpacked layers work on every kernel that has overlayfs.
pub struct DiskSnapshots {
    root: PathBuf,
    records: Arc<dyn Records>,
    state: Mutex<State>,
    next: AtomicU64,
    janitor: Janitor,
    /// Waits for the disk, which removing does not.
    syncer: Janitor,
    layout: Layout,
    mounts: Arc<Mounts>,
    waiting: Waiting,
    building: Mutex<()>,
}

#[derive(Default)]
struct State {
    layers: BTreeMap<ChainId, LayerRecord>,
    snapshots: BTreeMap<String, SnapshotRecord>,
    indexes: indexes::Indexes,
}

impl State {
    fn layer(&self, chain: &ChainId, record: &LayerRecord) -> Layer {
        let index = self.indexes.get(&record.tree).map_or(0, |index| index.bytes);
        Layer {
            chain_id: chain.clone(),
            diff_id: record.diff_id.clone(),
            parent: record.parent.clone(),
            size: record.size,
            tar: record.tar.map(|tar| tar.bytes),
            own: record.tar.map_or(record.size, |tar| tar.side + index),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct LayerRecord {
    diff_id: DiffId,
    parent: Option<ChainId>,
    size: u64,
    tree: u64,
    /// It is kept as a tar; else unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tar: Option<TarRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
struct SnapshotRecord {
    parent: Option<ChainId>,
    tree: u64,
}

/// A directory that goes again unless it is recorded.
struct Fresh {
    number: u64,
    path: PathBuf,
    recorded: bool,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.recorded {
            // What cannot be removed now, `recover` removes.
            let _ = remove_tree(&self.path);
        }
    }
}

impl DiskSnapshots {
    /// Opens the store below `root`, made if it is not there. New layers are kept as `layout` has it. Call `recover`
    /// before anything else.
    pub fn open(root: &Path, records: Arc<dyn Records>, layout: Layout, mounts: Arc<Mounts>) -> Result<Self> {
        let trees = root.join("t");
        make_dir(&trees)?;
        // Programs in layers may be setuid; nobody on the host gets at them.
        std::fs::set_permissions(&trees, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| failed("set the mode of", &trees, e))?;
        make_dir(&root.join("empty"))?;
        skeleton::make(&root.join("base"))?;
        let mut state = State::default();
        for (id, body) in records.list(RecordKind::Layer)? {
            let chain = ChainId(id.parse().map_err(|e| broken("layer", &id, e))?);
            state.layers.insert(chain, serde_json::from_slice(&body).map_err(|e| broken("layer", &id, e))?);
        }
        for (key, body) in records.list(RecordKind::Snapshot)? {
            let record = serde_json::from_slice(&body).map_err(|e| broken("snapshot", &key, e))?;
            state.snapshots.insert(key, record);
        }
        let root = root.to_owned();
        let store = Self {
            root,
            records,
            state: Mutex::new(state),
            next: AtomicU64::new(0),
            janitor: Janitor::default(),
            syncer: Janitor::default(),
            layout,
            mounts,
            waiting: Waiting::default(),
            building: Mutex::default(),
        };
        let indexes = store.load_indexes(&store.state())?;
        store.state().indexes = indexes;
        let highest = store.tree_numbers()?.into_iter().max().unwrap_or(0);
        store.next.store(highest + 1, Ordering::Relaxed);
        Ok(store)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changes to it are single insertions and removals: a panic leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tree(&self, number: u64) -> PathBuf {
        self.root.join("t").join(number.to_string())
    }

    fn files(&self, number: u64) -> PathBuf {
        self.tree(number).join("fs")
    }

    fn scratch(&self) -> PathBuf {
        self.root.join("m")
    }

    fn tree_numbers(&self) -> Result<Vec<u64>> {
        let trees = self.root.join("t");
        let unreadable = |e| failed("list", &trees, e);
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&trees).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            numbers.extend(name.to_str().and_then(|n| n.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// A new directory whose root looks like the one below it: overlay shows the topmost.
    fn fresh(&self, below: Root) -> Result<Fresh> {
        let fresh = self.fresh_tree(&["fs"])?;
        self.look_like(below, fresh.number)?;
        Ok(fresh)
    }

    fn fresh_tree(&self, directories: &[&str]) -> Result<Fresh> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let fresh = Fresh { number, path: self.tree(number), recorded: false };
        make_tree(&fresh.path, directories)?;
        failpoint!("layer.begun");
        Ok(fresh)
    }

    /// The same for a snapshot, which has a scratch directory too: one that was made ahead, where there is one.
    fn fresh_snapshot(&self, below: Root) -> Result<Fresh> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let fresh = Fresh { number, path: self.tree(number), recorded: false };
        match std::fs::rename(self.ahead(), &fresh.path) {
            Ok(()) => {}
            Err(_) => make_tree(&fresh.path, &SNAPSHOT_DIRECTORIES)?,
        }
        self.look_like(below, number)?;
        let ahead = self.ahead();
        self.janitor.later(Box::new(move || {
            if ahead.exists() {
                return;
            }
            let part = ahead.with_extension("part");
            let made =
                remove_tree(&part).and_then(|()| make_tree(&part, &SNAPSHOT_DIRECTORIES)).and_then(|()| {
                    std::fs::rename(&part, &ahead).map_err(|e| failed("name the directory", &ahead, e))
                });
            // Whoever needs one and finds none makes it, and tells of failures.
            if let Err(e) = made {
                tracing::debug!("{}", e.full());
            }
        }))?;
        Ok(fresh)
    }

    /// The tree that was made ahead for the next snapshot.
    fn ahead(&self) -> PathBuf {
        self.root.join("next")
    }

    fn look_like(&self, below: Root, number: u64) -> Result<()> {
        let files = self.files(number);
        if (below.uid, below.gid) != (0, 0) {
            std::os::unix::fs::chown(&files, Some(below.uid), Some(below.gid))
                .map_err(|e| failed("set the owner of", &files, e))?;
        }
        std::fs::set_permissions(&files, std::fs::Permissions::from_mode(below.mode))
            .map_err(|e| failed("set the mode of", &files, e))
    }

    /// How a layer's root directory looks.
    fn root_of(&self, record: &LayerRecord) -> Result<Root> {
        if let Some(tar) = record.tar {
            return Ok(tar.root);
        }
        let files = self.files(record.tree);
        let metadata = std::fs::metadata(&files).map_err(|e| failed("stat", &files, e))?;
        Ok(Root { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() })
    }

    fn root_below(&self, state: &State, parent: Option<&ChainId>) -> Result<Root> {
        let Some(parent) = parent else { return Ok(Root::default()) };
        self.root_of(state.layers.get(parent).ok_or_else(|| no_layer(parent))?)
    }

    /// What a chain is mounted from, topmost first.
    fn lower(&self, state: &State, chain: Option<&ChainId>) -> Result<Vec<PathBuf>> {
        let lower = self.pieces(state, chain)?;
        if lower.len() > MAX_LAYERS {
            return Err(Error::unsupported(format!(
                "{} layers lie on each other, overlayfs takes {MAX_LAYERS}: build the image with fewer",
                lower.len()
            )));
        }
        Ok(lower)
    }

    /// What lies below a snapshot: the layers, and the skeleton below them.
    fn below(&self, state: &State, record: &SnapshotRecord) -> Result<Vec<PathBuf>> {
        let mut lower = self.lower(state, record.parent.as_ref())?;
        lower.push(self.root.join("base"));
        Ok(lower)
    }

    fn mount_of(&self, state: &State, record: &SnapshotRecord) -> Result<RootMount> {
        let tree = self.tree(record.tree);
        Ok(RootMount::Overlay {
            lower: self.below(state, record)?,
            upper: tree.join("fs"),
            work: tree.join("work"),
        })
    }

    fn snapshot(&self, key: &str) -> Result<SnapshotRecord> {
        self.state().snapshots.get(key).cloned().ok_or_else(|| no_snapshot(key))
    }

    fn upper(&self, record: &SnapshotRecord) -> Result<OwnedFd> {
        let path = self.files(record.tree);
        inside::open_root(&path).map_err(|e| failed("open", &path, e))
    }

    /// The root directory of a whole tree, to be read. A container may be running in a snapshot: a second overlay with
    /// the same upper directory would clear the first one's scratch directory under it, so here it is the topmost of the
    /// read-only ones.
    fn merged(&self, tree: Tree<'_>) -> Result<OwnedFd> {
        let lower = match tree {
            Tree::Snapshot(key) => match self.root(key)? {
                mount @ RootMount::Bind { .. } => {
                    return self.opened(merged::open(&mount, &self.means(&self.scratch())));
                }
                RootMount::Overlay { lower, upper, .. } => [vec![upper], lower].concat(),
            },
            Tree::Live(live) => return self.opened(live.root.try_clone_to_owned()),
            Tree::Layer(chain) => {
                let mut lower = self.view(chain)?;
                // An overlay without an upper directory wants two lower ones.
                lower.push(self.root.join("empty"));
                lower
            }
        };
        self.opened(merged::view(&lower, &self.means(&self.scratch())))
    }

    /// The root directory of a snapshot that no container runs in, to be written to.
    fn writable(&self, key: &str) -> Result<OwnedFd> {
        self.opened(merged::open(&self.root(key)?, &self.means(&self.scratch())))
    }

    fn means<'a>(&'a self, scratch: &'a Path) -> merged::Means<'a> {
        merged::Means { scratch, mounts: &self.mounts }
    }

    fn opened(&self, root: std::io::Result<OwnedFd>) -> Result<OwnedFd> {
        root.map_err(|e| Error::wrap(ErrorKind::Internal, "mount the tree of a snapshot or layer", e))
    }

    fn write_layer(&self, number: u64, diff_id: &DiffId, tar: &mut dyn Read) -> Result<u64> {
        let path = self.files(number);
        let root = inside::open_root(&path).map_err(|e| failed("open", &path, e))?;
        let mut reader = Reader::new(HashingReader::new(tar, &diff_id.0));
        let mut extractor = Extractor::new(root.as_fd(), Whiteouts::Overlay);
        let size = extract(&mut reader, &mut extractor).map_err(below(&path))?;
        reader.drain().map_err(|e| archive_error(e, "read the layer"))?;
        let digest = reader.into_inner().finish();
        if digest != diff_id.0 {
            return Err(wharf_model::blobs::mismatch(&diff_id.0, &digest));
        }
        Ok(size)
    }

    /// Records a layer whose files are in place; another that was faster wins.
    fn record_layer(
        &self,
        chain: ChainId,
        record: LayerRecord,
        fresh: Option<&mut Fresh>,
        snapshot: Option<&str>,
    ) -> Result<Layer> {
        failpoint!("layer.written");
        let mut state = self.state();
        let mut batch = Vec::new();
        let there = state.layers.get(&chain).cloned();
        if let (None, Some(parent)) = (&there, &record.parent)
            && !state.layers.contains_key(parent)
        {
            return Err(no_layer(parent));
        }
        if there.is_none() {
            batch.push(Change::Put {
                kind: RecordKind::Layer,
                id: chain.to_string(),
                body: document(&record)?,
            });
        }
        if let Some(key) = snapshot {
            batch.push(Change::Delete { kind: RecordKind::Snapshot, id: key.to_owned() });
        }
        self.records.commit(batch, Durability::Process)?;
        if let Some(key) = snapshot {
            state.snapshots.remove(key);
        }
        if let Some(there) = there {
            return Ok(state.layer(&chain, &there));
        }
        if let Some(fresh) = fresh {
            fresh.recorded = true;
        }
        let layer = state.layer(&chain, &record);
        state.layers.insert(chain, record);
        Ok(layer)
    }

    fn archive(&self, record: &SnapshotRecord, out: &mut dyn Write) -> Result<u64> {
        let upper = self.upper(record)?;
        let out = std::io::BufWriter::with_capacity(1 << 17, out);
        let mut archiver = Archiver::new(out, Whiteouts::Overlay, Times::Seconds);
        let unwritten = |e| Error::wrap(ErrorKind::Internal, "archive a snapshot's changes", e);
        archiver.tree(&upper, b"").map_err(unwritten)?;
        let size = archiver.size;
        archiver.finish().and_then(|mut out| out.flush()).map_err(unwritten)?;
        Ok(size)
    }
}

const SNAPSHOT_DIRECTORIES: [&str; 2] = ["fs", "work"];

fn make_tree(path: &Path, directories: &[&str]) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).create(path).map_err(|e| failed("make directory", path, e))?;
    for name in directories {
        let path = path.join(name);
        builder.create(&path).map_err(|e| failed("make directory", &path, e))?;
    }
    Ok(())
}

fn document(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|e| Error::wrap(ErrorKind::Internal, "write a record", e))
}

fn no_layer(chain: &ChainId) -> Error {
    Error::not_found(format!("no layer {chain}"))
}

fn no_snapshot(key: &str) -> Error {
    Error::not_found(format!("no snapshot {key}"))
}

fn broken(kind: &str, id: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::wrap(ErrorKind::Internal, format!("read the record of {kind} {id}"), error)
}

fn ids_of(tree: Tree<'_>) -> Option<&IdMap> {
    match tree {
        Tree::Live(live) => live.ids,
        Tree::Snapshot(_) | Tree::Layer(_) => None,
    }
}

impl Snapshots for DiskSnapshots {
    fn unpack(&self, parent: Option<&ChainId>, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Layer> {
        let chain = ChainId::extend(parent, diff_id);
        let below = {
            let state = self.state();
            if let Some(record) = state.layers.get(&chain) {
                return Ok(state.layer(&chain, record));
            }
            self.root_below(&state, parent)?
        };
        if let Some(received) = self.receive_tar(diff_id, tar)? {
            return self.place_tar(parent, &received);
        }
        let mut fresh = self.fresh(below)?;
        let size = self.write_layer(fresh.number, diff_id, tar)?;
        let (diff_id, parent) = (diff_id.clone(), parent.cloned());
        let record = LayerRecord { diff_id, parent, size, tree: fresh.number, tar: None };
        self.record_layer(chain, record, Some(&mut fresh), None)
    }

    fn receive(&self, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Option<Received>> {
        self.receive_tar(diff_id, tar)
    }

    fn adopt(&self, diff_id: &DiffId, tar: &File) -> Result<Option<Received>> {
        self.adopt_tar(diff_id, tar)
    }

    fn receives(&self) -> bool {
        matches!(self.layout, Layout::Mounted(_))
    }

    fn place(&self, parent: Option<&ChainId>, received: &Received) -> Result<Layer> {
        self.place_tar(parent, received)
    }

    fn settle(&self, chain: &ChainId, tar: &File) -> Result<()> {
        self.settle_tar(chain, tar)
    }

    fn ready(&self, chain: &ChainId) -> Result<()> {
        self.ensure_indexed(Some(chain), true)
    }

    fn tar(&self, chain: &ChainId) -> Result<Option<File>> {
        self.open_tar(chain)
    }

    fn check(&self, chain: &ChainId) -> Result<Condition> {
        self.check_layer(chain)
    }

    fn mend(&self, chain: &ChainId, tar: Option<&mut dyn Read>) -> Result<()> {
        self.mend_layer(chain, tar)
    }

    fn layer(&self, chain: &ChainId) -> Result<Option<Layer>> {
        let state = self.state();
        Ok(state.layers.get(chain).map(|record| state.layer(chain, record)))
    }

    fn layers(&self) -> Result<Vec<Layer>> {
        let state = self.state();
        Ok(state.layers.iter().map(|(chain, record)| state.layer(chain, record)).collect())
    }

    fn remove_layer(&self, chain: &ChainId) -> Result<()> {
        let tree = {
            let mut state = self.state();
            let record = state.layers.get(chain).ok_or_else(|| no_layer(chain))?;
            let tree = record.tree;
            let held = |what: &str, by: String| {
                Err(Error::conflict(format!("layer {chain} is used by {what} {by}")))
            };
            if let Some((child, _)) = state.layers.iter().find(|(_, r)| r.parent.as_ref() == Some(chain)) {
                return held("the layer", child.to_string());
            }
            if let Some((key, _)) = state.snapshots.iter().find(|(_, r)| r.parent.as_ref() == Some(chain)) {
                return held("the snapshot", key.clone());
            }
            let gone = Change::Delete { kind: RecordKind::Layer, id: chain.to_string() };
            self.records.commit(vec![gone], Durability::Process)?;
            state.layers.remove(chain);
            failpoint!("layer.forgotten");
            tree
        };
        self.forget_index(tree)?;
        self.janitor.remove(self.tree(tree))
    }

    fn prepare(&self, key: &str, parent: Option<&ChainId>) -> Result<RootMount> {
        self.ensure_indexed(parent, false)?;
        let mut state = self.state();
        if state.snapshots.contains_key(key) {
            return Err(Error::conflict(format!("the snapshot {key} exists already")));
        }
        let below = self.root_below(&state, parent)?;
        let mut fresh = self.fresh_snapshot(below)?;
        let record = SnapshotRecord { parent: parent.cloned(), tree: fresh.number };
        failpoint!("snapshot.made");
        let mount = self.mount_of(&state, &record)?;
        let put = Change::Put { kind: RecordKind::Snapshot, id: key.to_owned(), body: document(&record)? };
        self.records.commit(vec![put], Durability::Process)?;
        fresh.recorded = true;
        state.snapshots.insert(key.to_owned(), record);
        Ok(mount)
    }

    fn root(&self, key: &str) -> Result<RootMount> {
        let record = self.snapshot(key)?;
        self.ensure_indexed(record.parent.as_ref(), false)?;
        self.mount_of(&self.state(), &record)
    }

    fn view(&self, chain: &ChainId) -> Result<Vec<PathBuf>> {
        self.ensure_indexed(Some(chain), false)?;
        self.lower(&self.state(), Some(chain))
    }

    fn size(&self, key: &str) -> Result<u64> {
        let record = self.snapshot(key)?;
        walk::size(self.upper(&record)?).map_err(|e| failed("measure", &self.files(record.tree), e))
    }

    fn changes(&self, key: &str) -> Result<Vec<PathChange>> {
        let record = self.snapshot(key)?;
        self.ensure_indexed(record.parent.as_ref(), false)?;
        let lower = self.below(&self.state(), &record)?;
        let open = |path: &PathBuf| self.opened(merged::piece(path, &self.mounts));
        let lower = lower.iter().map(open).collect::<Result<Vec<_>>>()?;
        changes::changes(&self.upper(&record)?, &lower)
            .map_err(|e| failed("compare", &self.files(record.tree), e))
    }

    fn export(&self, key: &str, out: &mut dyn Write) -> Result<()> {
        self.archive(&self.snapshot(key)?, out).map(drop)
    }

    fn commit(&self, key: &str, tar: &mut dyn Write) -> Result<Layer> {
        let snapshot = self.snapshot(key)?;
        let mut out = HashingWriter::new(tar);
        let size = self.archive(&snapshot, &mut out)?;
        let diff_id = DiffId(out.finish());
        let chain = ChainId::extend(snapshot.parent.as_ref(), &diff_id);
        let record = LayerRecord { diff_id, parent: snapshot.parent, size, tree: snapshot.tree, tar: None };
        failpoint!("layer.archived");
        let committed = self.record_layer(chain.clone(), record, None, Some(key))?;
        failpoint!("layer.committed");
        // The same layer was there already: the snapshot's own files are not needed.
        let kept = self.state().layers.get(&chain).is_some_and(|r| r.tree == snapshot.tree);
        let tree = self.tree(snapshot.tree);
        remove_tree(&if kept { tree.join("work") } else { tree })?;
        Ok(committed)
    }

    fn remove(&self, key: &str) -> Result<()> {
        let tree = {
            let mut state = self.state();
            let Some(record) = state.snapshots.get(key) else { return Ok(()) };
            let tree = record.tree;
            let gone = Change::Delete { kind: RecordKind::Snapshot, id: key.to_owned() };
            self.records.commit(vec![gone], Durability::Process)?;
            state.snapshots.remove(key);
            tree
        };
        self.janitor.remove(self.tree(tree))
    }

    fn stat(&self, tree: Tree<'_>, path: &Path, follow: bool) -> Result<Option<PathStat>> {
        Ok(trees::stat(self.merged(tree)?.as_fd(), path, follow)?.map(|stat| match ids_of(tree) {
            Some(ids) => {
                let (uid, gid) = ids.inside((stat.uid, stat.gid));
                PathStat { uid, gid, ..stat }
            }
            None => stat,
        }))
    }

    fn read_file(&self, tree: Tree<'_>, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        trees::read_file(self.merged(tree)?.as_fd(), path, limit)
    }

    fn read_tar(&self, tree: Tree<'_>, path: &Path, called: Option<&str>, out: &mut dyn Write) -> Result<()> {
        trees::read_tar(self.merged(tree)?.as_fd(), path, called, out, ids_of(tree))
    }

    fn write_tar(&self, key: &str, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()> {
        trees::write_tar(self.writable(key)?.as_fd(), at, tar, options, None).map_err(below(&self.root))
    }

    fn remove_stub(&self, key: &str, path: &Path) -> Result<bool> {
        trees::remove_stub(self.writable(key)?.as_fd(), path).map_err(below(&self.root))
    }

    fn write_live(&self, live: Live<'_>, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()> {
        let Some(ids) = live.ids else {
            return trees::write_tar(live.root, at, tar, options, None).map_err(below(&self.root));
        };
        let Some((uid, gid)) = ids.outside((0, 0)) else {
            return Err(Error::internal("the container's user namespace has no root"));
        };
        // What is made must belong to somebody the container knows from the beginning on.
        let wrote = wharf_sys::process::as_user_on_files(uid, gid, || {
            trees::write_tar(live.root, at, tar, options, Some(ids))
        });
        wrote.map_err(|e| Error::wrap(ErrorKind::Internal, "act as the container's root", e))?
    }

    fn populate(&self, tree: Tree<'_>, path: &Path, target: &Path) -> Result<()> {
        trees::populate(self.merged(tree)?.as_fd(), path, target).map_err(below(target))
    }

    fn keys(&self) -> Result<Vec<String>> {
        Ok(self.state().snapshots.keys().cloned().collect())
    }

    fn recover(&self) -> Result<()> {
        merged::recover(&self.scratch())
            .map_err(|e| failed("unmount what is left in", &self.scratch(), e))?;
        let state = self.state();
        let recorded: Vec<u64> =
            state.layers.values().map(|r| r.tree).chain(state.snapshots.values().map(|r| r.tree)).collect();
        let tars: Vec<u64> = state.layers.values().filter(|r| r.tar.is_some()).map(|r| r.tree).collect();
        drop(state);
        for number in self.tree_numbers()? {
            if !recorded.contains(&number) {
                remove_tree(&self.tree(number))?;
            } else if tars.contains(&number) {
                // Its files of before it was settled.
                remove_tree(&self.files(number))?;
            }
        }
        remove_tree(&self.ahead().with_extension("part"))?;
        if self.is_new_boot()? {
            let damaged = self.verify_unsynced()?;
            if damaged.is_empty() {
                self.note_boot()?;
            }
            for chain in damaged {
                tracing::error!(%chain, "a layer is damaged, as a power cut leaves it: `image check --repair` mends it");
            }
        }
        Ok(())
    }
}
