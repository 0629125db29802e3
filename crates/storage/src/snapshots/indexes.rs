//! Indexes of layers: `e/<top>-<below>.<how>` shows the layers from the tree `top` down to, and without, the tree
//! `below`, which is 0 for none.
//!
//! They can be made again from the tars at any time. So they are not synced, and after a start of the machine, when a
//! power cut may have damaged them, all are thrown away.

use super::tars::{SIDE, TAR, TarRecord};
use super::{DiskSnapshots, LayerRecord, Layout, State, no_layer};
use crate::disk::{failed, make_dir, remove_tree};
use crate::erofs::{self, Content, Device, TarFile, Tree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::ChainId;
use wharf_sys::erofs::Backing;

/// By the topmost tree.
pub(super) type Indexes = BTreeMap<u64, Index>;

/// An index that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    /// It reaches down to, and without, this tree.
    below: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

/// Layers that one index shall show.
pub(super) struct Piece {
    top: u64,
    below: u64,
    /// Topmost first.
    layers: Vec<(u64, TarRecord)>,
}

impl Piece {
    pub(super) fn shows(&self, tree: u64) -> bool {
        self.layers.iter().any(|(number, _)| *number == tree)
    }
}

impl DiskSnapshots {
    fn indexes_dir(&self) -> PathBuf {
        self.root.join("e")
    }

    fn backing(&self) -> Backing {
        match self.layout {
            Layout::Mounted(backing) => backing,
            // The store was made where tars could be mounted; the mount will say why they cannot be here.
            Layout::Unpacked => Backing::File,
        }
    }

    fn index(&self, top: u64, below: u64) -> PathBuf {
        self.indexes_dir().join(format!("{top}-{below}.{}", self.backing().extension()))
    }

    /// Finds the indexes that are there and fit the records; the others go.
    pub(super) fn load_indexes(&self, state: &State) -> Result<Indexes> {
        let dir = self.indexes_dir();
        make_dir(&dir)?;
        if self.is_new_boot()? {
            remove_tree(&dir)?;
            make_dir(&dir)?;
        }
        let mut found = Indexes::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| failed("list", &dir, e))? {
            let entry = entry.map_err(|e| failed("list", &dir, e))?;
            let path = entry.path();
            let numbers = self
                .numbers(&path)
                .filter(|(top, _)| state.layers.values().any(|r| r.tree == *top && r.tar.is_some()));
            match numbers {
                Some((top, below)) if !found.contains_key(&top) => {
                    let bytes = entry.metadata().map_err(|e| failed("stat", &path, e))?.len();
                    found.insert(top, Index { below, bytes });
                }
                _ => std::fs::remove_file(&path).map_err(|e| failed("remove", &path, e))?,
            }
        }
        Ok(found)
    }

    /// Whether the machine was started since this was noted.
    pub(super) fn is_new_boot(&self) -> Result<bool> {
        let boot = super::layout::boot_id()?;
        Ok(!std::fs::read_to_string(self.root.join("boot")).is_ok_and(|b| b == boot))
    }

    /// From now on what is on the disk is known to be as this start of the machine made it.
    pub(super) fn note_boot(&self) -> Result<()> {
        let note = self.root.join("boot");
        std::fs::write(&note, super::layout::boot_id()?).map_err(|e| failed("write", &note, e))
    }

    fn numbers(&self, path: &Path) -> Option<(u64, u64)> {
        if Backing::of(path) != Some(self.backing()) {
            return None;
        }
        let (top, below) = path.file_stem()?.to_str()?.split_once('-')?;
        Some((top.parse().ok()?, below.parse().ok()?))
    }

    /// Makes what indexes a chain's layers lack. With `whole` one index shows as many of them as can be.
    pub(super) fn ensure_indexed(&self, chain: Option<&ChainId>, whole: bool) -> Result<()> {
        let Some(chain) = chain else { return Ok(()) };
        loop {
            let missing = self.missing(&self.state(), chain, whole)?;
            let Some(piece) = missing else { break };
            // One at a time: who asks for the same finds it then.
            let _building = self.building.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let missing = self.missing(&self.state(), chain, whole)?;
            if missing.is_none_or(|p| p.top != piece.top) {
                continue;
            }
            let index = Index { below: piece.below, bytes: self.build(&piece)? };
            let old = {
                let mut state = self.state();
                if !state.layers.values().any(|record| record.tree == piece.top) {
                    // It was removed meanwhile, with the indexes that it had then.
                    drop(state);
                    self.forget_index(piece.top)?;
                    return Err(no_layer(chain));
                }
                state.indexes.insert(piece.top, index)
            };
            if let Some(old) = old {
                // Its file stays until the layer goes: somebody may be about to mount it.
                self.mounts.forget(&self.index(piece.top, old.below));
            }
        }
        // What lies below an unpacked layer.
        if whole { self.ensure_indexed(Some(chain), false) } else { Ok(()) }
    }

    /// The first layers from the top that no index shows.
    fn missing(&self, state: &State, chain: &ChainId, whole: bool) -> Result<Option<Piece>> {
        let mut piece: Option<Piece> = None;
        let mut next = Some(chain);
        while let Some(chain) = next {
            let record = state.layers.get(chain).ok_or_else(|| no_layer(chain))?;
            next = record.parent.as_ref();
            let index = state.indexes.get(&record.tree).map(|index| index.below);
            let taken = record.tar.filter(|_| whole || index.is_none());
            match (&mut piece, taken) {
                (Some(piece), Some(tar)) => piece.layers.push((record.tree, tar)),
                (Some(piece), None) => {
                    piece.below = record.tree;
                    break;
                }
                (None, Some(tar)) => {
                    piece = Some(Piece { top: record.tree, below: 0, layers: vec![(record.tree, tar)] });
                }
                (None, None) => {
                    if let Some(below) = index {
                        next = self.chain_of(state, next, below);
                    }
                }
            }
        }
        // Layers are merged down to the bottom or not at all: marks of what hides something further down cannot be merged.
        if let Some(piece) = &mut piece
            && piece.below != 0
        {
            let parent = piece.layers.get(1).map(|(tree, _)| *tree);
            piece.below = parent.unwrap_or(piece.below);
            piece.layers.truncate(1);
        }
        // It may be there already.
        Ok(piece.filter(|p| state.indexes.get(&p.top).is_none_or(|index| index.below != p.below)))
    }

    /// The ancestor with the tree `below`, where the next index begins.
    fn chain_of<'a>(
        &self,
        state: &'a State,
        mut chain: Option<&'a ChainId>,
        below: u64,
    ) -> Option<&'a ChainId> {
        while let Some(id) = chain {
            let record = state.layers.get(id)?;
            if record.tree == below {
                return Some(id);
            }
            chain = record.parent.as_ref();
        }
        None
    }

    /// The index that begins with a layer, and what it shows.
    pub(super) fn piece_of(&self, chain: &ChainId, record: &LayerRecord) -> Result<Option<(PathBuf, Piece)>> {
        let state = self.state();
        let Some(below) = state.indexes.get(&record.tree).map(|index| index.below) else { return Ok(None) };
        let mut piece = Piece { top: record.tree, below, layers: Vec::new() };
        let mut next = Some(chain);
        while let Some(chain) = next {
            let record = state.layers.get(chain).ok_or_else(|| no_layer(chain))?;
            let Some(tar) = record.tar.filter(|_| record.tree != below) else { break };
            piece.layers.push((record.tree, tar));
            next = record.parent.as_ref();
        }
        Ok(Some((self.index(piece.top, below), piece)))
    }

    /// Returns its bytes.
    pub(super) fn build(&self, piece: &Piece) -> Result<u64> {
        let Some(image) = self.image_of(piece)? else { return Ok(0) };
        let path = self.index(piece.top, piece.below);
        let part = path.with_extension("part");
        std::fs::write(&part, &image).map_err(|e| failed("write", &part, e))?;
        std::fs::rename(&part, &path).map_err(|e| failed("rename to", &path, e))?;
        Ok(image.len() as u64)
    }

    /// The index of these layers; the same for the same layers each time.
    pub(super) fn image_of(&self, piece: &Piece) -> Result<Option<Vec<u8>>> {
        let marks = piece.below != 0;
        let mut devices = Vec::new();
        let mut whole: Option<Tree> = None;
        for (number, tar) in piece.layers.iter().rev() {
            let path = self.tree(*number).join(TAR);
            let device = u16::try_from(devices.len()).unwrap_or(u16::MAX);
            let layer = erofs::scan(&mut TarFile::open(&path)?, tar.root, device, Content::There)?;
            let tag = |name| format!("../t/{number}/{name}");
            devices.push(Device { tag: tag(TAR), size: tar.bytes });
            if tar.side > 0 {
                devices.push(Device { tag: tag(SIDE), size: tar.side });
            }
            match &mut whole {
                None => whole = Some(layer.tree),
                Some(below) if below.len() + layer.tree.len() > 2 * erofs::MAX_INODES => {
                    let most = 2 * erofs::MAX_INODES;
                    return Err(Error::invalid(format!(
                        "an image of more than {most} files cannot be mounted"
                    )));
                }
                Some(below) => erofs::merge(below, layer.tree),
            }
        }
        let Some(tree) = whole else { return Ok(None) };
        erofs::write(&tree, &devices, marks)
            .map(Some)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, "index the image's layers", e))
    }

    /// What a chain is mounted from, topmost first: indexes, and directories of layers that are unpacked.
    pub(super) fn pieces(&self, state: &State, chain: Option<&ChainId>) -> Result<Vec<PathBuf>> {
        let mut lower = Vec::new();
        let mut next = chain;
        while let Some(chain) = next {
            let record = state.layers.get(chain).ok_or_else(|| no_layer(chain))?;
            next = record.parent.as_ref();
            match (record.tar, state.indexes.get(&record.tree)) {
                (None, _) => lower.push(self.files(record.tree)),
                (Some(_), Some(index)) => {
                    lower.push(self.index(record.tree, index.below));
                    next = self.chain_of(state, next, index.below);
                }
                (Some(_), None) => {
                    return Err(Error::internal(format!("the layer {chain} has no index yet")));
                }
            }
        }
        Ok(lower)
    }

    /// Forgets the indexes of a layer that goes, those that another has replaced among them.
    pub(super) fn forget_index(&self, tree: u64) -> Result<()> {
        self.state().indexes.remove(&tree);
        let dir = self.indexes_dir();
        let begin = format!("{tree}-");
        for entry in std::fs::read_dir(&dir).map_err(|e| failed("list", &dir, e))? {
            let entry = entry.map_err(|e| failed("list", &dir, e))?;
            if entry.file_name().to_string_lossy().starts_with(&begin) {
                self.mounts.forget(&entry.path());
                std::fs::remove_file(entry.path()).map_err(|e| failed("remove", &entry.path(), e))?;
            }
        }
        Ok(())
    }
}
