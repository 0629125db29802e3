//! Layers that are kept as tars: `t/<number>/tar`, beside it `side` with the content of sparse files, and `synced` when
//! a power cut can do them no harm.

use super::extract::archive_error;
use super::{DiskSnapshots, Fresh, LayerRecord, Layout, no_layer};
use crate::disk::{below, failed, link_or_copy, sync_dir};
use crate::erofs::{self, Content, Root, TarFile};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use wharf_failpoint::failpoint;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_model::snapshots::{Layer, Received};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, DiffId, Digest, Hasher};
use wharf_oci::tar::Reader;

/// Bytes that go through at once: one write to the disk, one step of the hash.
const CHUNK: usize = 1 << 18;

pub(super) const TAR: &str = "tar";
pub(super) const SIDE: &str = "side";
pub(super) const SYNCED: &str = "synced";

/// What is known of a layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TarRecord {
    /// Bytes of it.
    pub(super) bytes: u64,
    /// Bytes of the file beside it, 0 when there is none.
    #[serde(default)]
    pub(super) side: u64,
    /// How the root directory looks.
    #[serde(default)]
    pub(super) root: Root,
}

/// A tar that is here and verified, in a directory of its own.
pub(super) struct Staged {
    fresh: Fresh,
    size: u64,
    tar: TarRecord,
}

/// Tars that wait for their place, by the number of their directory.
pub(super) type Waiting = Arc<Mutex<std::collections::HashMap<u64, (DiffId, Staged)>>>;

impl DiskSnapshots {
    pub(super) fn receive_tar(&self, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Option<Received>> {
        if !matches!(self.layout, Layout::Mounted(_)) {
            return Ok(None);
        }
        let fresh = self.fresh_tree(&[])?;
        let (size, tar) = match self.link_known(diff_id, &fresh)? {
            // Another image has the same layer: its content is on the disk once. Whoever names it has to have it.
            Some(known) => {
                verify(diff_id, tar)?;
                known
            }
            None => write_tar(&fresh.path, diff_id, tar).map_err(below(&fresh.path))?,
        };
        Ok(Some(self.await_place(diff_id, Staged { fresh, size, tar })))
    }

    pub(super) fn adopt_tar(&self, diff_id: &DiffId, tar: &File) -> Result<Option<Received>> {
        if !matches!(self.layout, Layout::Mounted(_)) {
            return Ok(None);
        }
        let fresh = self.fresh_tree(&[])?;
        let (size, tar) = match self.link_known(diff_id, &fresh)? {
            Some(known) => known,
            None => link_file(&fresh.path, tar, Root::default()).map_err(below(&fresh.path))?,
        };
        Ok(Some(self.await_place(diff_id, Staged { fresh, size, tar })))
    }

    fn await_place(&self, diff_id: &DiffId, staged: Staged) -> Received {
        let number = staged.fresh.number;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (diff_id.clone(), staged));
        let waiting = Arc::clone(&self.waiting);
        Received::new(diff_id.clone(), number, move || {
            // What was placed is not there any more; else its directory goes with it.
            let left = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            drop(left);
        })
    }

    /// Takes the content of a layer that is here, or waits as well.
    fn link_known(&self, diff_id: &DiffId, to: &Fresh) -> Result<Option<(u64, TarRecord)>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let same = waiting.values().find(|(diff, _)| diff == diff_id);
        if let Some((_, staged)) = same {
            self.link_tar(staged.fresh.number, to, staged.tar)?;
            return Ok(Some((staged.size, staged.tar)));
        }
        drop(waiting);
        // Held meanwhile: what is linked from must not be removed.
        let state = self.state();
        for record in state.layers.values().filter(|r| r.diff_id == *diff_id) {
            // One that a power cut damaged never becomes synced.
            if let Some(tar) = record.tar
                && self.tree(record.tree).join(SYNCED).exists()
            {
                self.link_tar(record.tree, to, tar)?;
                return Ok(Some((record.size, tar)));
            }
        }
        Ok(None)
    }

    fn link_tar(&self, from: u64, to: &Fresh, tar: TarRecord) -> Result<()> {
        let names = [Some(TAR), (tar.side > 0).then_some(SIDE)];
        for name in names.into_iter().flatten() {
            let path = to.path.join(name);
            std::fs::hard_link(self.tree(from).join(name), &path).map_err(|e| failed("link", &path, e))?;
        }
        Ok(())
    }

    pub(super) fn place_tar(&self, parent: Option<&ChainId>, received: &Received) -> Result<Layer> {
        let chain = ChainId::extend(parent, received.diff_id());
        let root = {
            let state = self.state();
            if let Some(record) = state.layers.get(&chain) {
                return Ok(state.layer(&chain, record));
            }
            self.root_below(&state, parent)?
        };
        let staged = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&received.number());
        let (_, Staged { mut fresh, size, tar }) =
            staged.ok_or_else(|| Error::internal("a received layer was placed twice"))?;
        let tree = fresh.number;
        let tar = Some(TarRecord { root, ..tar });
        let record =
            LayerRecord { diff_id: received.diff_id().clone(), parent: parent.cloned(), size, tree, tar };
        let placed = self.record_layer(chain, record, Some(&mut fresh), None)?;
        if fresh.recorded {
            self.sync_later(&fresh.path)?;
        }
        Ok(placed)
    }

    /// The tar becomes safe from power cuts when nobody waits for it; until then a start after one verifies it.
    fn sync_later(&self, path: &Path) -> Result<()> {
        let path = path.to_owned();
        self.syncer.later(Box::new(move || {
            // Removed meanwhile, most likely; and what is not synced is verified.
            if let Err(e) = sync(&path) {
                tracing::debug!("{}", e.full());
            }
        }))
    }

    /// A layer that a snapshot became is kept as its tar from now on; see [`wharf_model::snapshots::Snapshots::settle`].
    pub(super) fn settle_tar(&self, chain: &ChainId, tar: &File) -> Result<()> {
        if !matches!(self.layout, Layout::Mounted(_)) {
            return Ok(());
        }
        // One at a time: two who settle the same would take each other's files.
        let _settling = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.state().layers.get(chain).cloned().ok_or_else(|| no_layer(chain))?;
        if record.tar.is_some() {
            return Ok(());
        }
        let tree = self.tree(record.tree);
        let is_settled = self.link_and_record(chain, &record, tar);
        if !matches!(is_settled, Ok(true)) {
            remove_file(&tree.join(TAR))?;
            remove_file(&tree.join(SIDE))?;
            return is_settled.map(drop);
        }
        failpoint!("layer.settled");
        sync(&tree)?;
        self.janitor.remove(self.files(record.tree))
    }

    /// False when something stands on the layer by now: it stays as it is.
    fn link_and_record(&self, chain: &ChainId, record: &LayerRecord, tar: &File) -> Result<bool> {
        let tree = self.tree(record.tree);
        remove_file(&tree.join(TAR))?;
        let (_, tar) = link_file(&tree, tar, self.root_of(record)?).map_err(below(&tree))?;
        let settled = LayerRecord { tar: Some(tar), ..record.clone() };
        let mut state = self.state();
        let used = state.layers.values().any(|r| r.parent.as_ref() == Some(chain))
            || state.snapshots.values().any(|r| r.parent.as_ref() == Some(chain));
        if used || state.layers.get(chain).is_none_or(|r| r.tree != record.tree) {
            return Ok(false);
        }
        let put =
            Change::Put { kind: RecordKind::Layer, id: chain.to_string(), body: super::document(&settled)? };
        self.records.commit(vec![put], Durability::Process)?;
        state.layers.insert(chain.clone(), settled);
        Ok(true)
    }

    /// What a power cut may have left incomplete, verified; layers that are damaged are named.
    pub(super) fn verify_unsynced(&self) -> Result<Vec<ChainId>> {
        let state = self.state();
        let mut damaged = Vec::new();
        for (chain, record) in &state.layers {
            let Some(tar) = record.tar else { continue };
            let tree = self.tree(record.tree);
            if tree.join(SYNCED).exists() {
                continue;
            }
            match is_whole(&tree, tar, &record.diff_id) {
                Ok(true) => sync(&tree)?,
                Ok(false) => damaged.push(chain.clone()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => damaged.push(chain.clone()),
                Err(e) => return Err(failed("verify", &tree, e)),
            }
        }
        Ok(damaged)
    }
}

/// Reads a stream to its end: it has to be the tar of this digest.
fn verify(diff_id: &DiffId, tar: &mut dyn Read) -> Result<()> {
    let digest = Digest::of_stream(tar, &diff_id.0)
        .map_err(|e| Error::wrap(ErrorKind::Internal, "read the layer", e))?;
    if digest == diff_id.0 { Ok(()) } else { Err(wharf_model::blobs::mismatch(&diff_id.0, &digest)) }
}

/// Whether a tar has the content it was stored with. Of the file beside it the length is what can be told.
fn is_whole(tree: &Path, record: TarRecord, diff_id: &DiffId) -> io::Result<bool> {
    if record.side > 0 && tree.join(SIDE).metadata()?.len() != record.side {
        return Ok(false);
    }
    Ok(Digest::of_stream(File::open(tree.join(TAR))?, &diff_id.0)? == diff_id.0)
}

/// Makes a tar safe from power cuts, and marks it so.
pub(super) fn sync(tree: &Path) -> Result<()> {
    for name in [TAR, SIDE] {
        let path = tree.join(name);
        match File::open(&path) {
            Ok(file) => file.sync_data().map_err(|e| failed("sync", &path, e))?,
            Err(e) if name == SIDE && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("open", &path, e)),
        }
    }
    let path = tree.join(SYNCED);
    File::create(&path).map_err(|e| failed("make", &path, e))?;
    sync_dir(tree)
}

pub(super) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, e)),
        _ => Ok(()),
    }
}

/// Makes a file that is kept elsewhere a layer's tar as well. Returns the bytes of its files.
fn link_file(tree: &Path, tar: &File, root: Root) -> Result<(u64, TarRecord)> {
    let path = tree.join(TAR);
    link_or_copy(tar, &path)?;
    let bytes = tar.metadata().map_err(|e| failed("stat", &path, e))?.len();
    let side = tree.join(SIDE);
    let mut make = || create(&side);
    let scanned = erofs::scan(&mut TarFile::open(&path)?, root, 0, Content::Copied(&mut make))?;
    Ok((scanned.size, TarRecord { bytes, side: scanned.side, root }))
}

pub(super) fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a layer's tar as it comes, and reads its headers on the way: what is wrong with it is found before it is
/// visible. Returns the bytes of its files.
fn write_tar(tree: &Path, diff_id: &DiffId, tar: &mut dyn Read) -> Result<(u64, TarRecord)> {
    let path = tree.join(TAR);
    let file = create(&path).map_err(|e| failed("make", &path, e))?;
    let side = tree.join(SIDE);
    let mut make = || create(&side);
    let mut reader = Reader::passing(Tee::new(tar, file, &diff_id.0), Tee::pass);
    let scanned = erofs::scan(&mut reader, Root::default(), 0, Content::Copied(&mut make))?;
    reader.drain().map_err(|e| archive_error(e, "read the layer"))?;
    let (digest, bytes) = reader.into_inner().finish();
    if digest != diff_id.0 {
        return Err(wharf_model::blobs::mismatch(&diff_id.0, &digest));
    }
    Ok((scanned.size, TarRecord { bytes, side: scanned.side, root: Root::default() }))
}

/// Writes and hashes all that is read through it.
struct Tee<'a> {
    inner: &'a mut dyn Read,
    file: File,
    hash: Hasher,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    written: u64,
}

impl<'a> Tee<'a> {
    fn new(inner: &'a mut dyn Read, file: File, expected: &Digest) -> Self {
        let hash = Hasher::like(expected);
        Self { inner, file, hash, buffer: vec![0; CHUNK], start: 0, end: 0, written: 0 }
    }

    fn finish(self) -> (Digest, u64) {
        (self.hash.finish(), self.written)
    }

    /// Fills the buffer when it is empty; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        while self.start == self.end {
            (self.start, self.end) = (0, 0);
            // Full pieces: the stream gives smaller ones than the disk and the hash want.
            while self.end < self.buffer.len() {
                match self.inner.read(&mut self.buffer[self.end..])? {
                    0 => break,
                    n => self.end += n,
                }
            }
            if self.end == 0 {
                return Ok(false);
            }
            self.hash.update(&self.buffer[..self.end]);
            self.file.write_all(&self.buffer[..self.end])?;
            self.written += self.end as u64;
        }
        Ok(true)
    }

    fn pass(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let part = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
            self.start += part;
            count -= part as u64;
        }
        Ok(())
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.fill()? {
            return Ok(0);
        }
        let n = out.len().min(self.end - self.start);
        out[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }
}
