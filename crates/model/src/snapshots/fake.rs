//! Snapshots in memory, for tests of what stands on the seam: trees are lists of paths, nothing is mounted.

use super::{ChangeKind, Layer, Live, PathChange, PathStat, RootMount, Snapshots, Tree, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wharf_oci::digest::{ChainId, DiffId, Digest};
use wharf_oci::tar::{Entry, Kind, Reader, Writer};

type Files = BTreeMap<Vec<u8>, (Entry, Vec<u8>)>;

/// Layers and snapshots that end with the process. Whiteouts are applied by name; opaque directories, links
/// and attributes are only kept, not followed.
#[derive(Default)]
pub struct MemorySnapshots(Mutex<State>);

#[derive(Default)]
struct State {
    layers: BTreeMap<ChainId, (Layer, Files)>,
    snapshots: BTreeMap<String, (Option<ChainId>, Files)>,
}

fn key(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b".")).collect();
    parts.join(&b'/')
}

fn path_key(path: &Path) -> Vec<u8> {
    key(path.as_os_str().as_encoded_bytes())
}

fn parse(tar: &mut dyn Read, below: &[u8]) -> Result<Files> {
    let bad = |e| Error::wrap(ErrorKind::Invalid, "read the archive", e);
    let mut reader = Reader::new(tar);
    let mut files = Files::new();
    while let Some(entry) = reader.next_entry().map_err(bad)? {
        if entry.path.split(|b| *b == b'/').any(|p| p == b"..") {
            return Err(Error::invalid(format!("refuse the archive's entry {:?}", entry.name())));
        }
        let mut content = Vec::new();
        reader
            .read_to_end(&mut content)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the archive", e))?;
        let path = key(&[below, b"/", &entry.path].concat());
        let root = path.is_empty().then(|| Entry { mode: 0o755, uid: 0, gid: 0, ..entry.clone() });
        let entry = root.unwrap_or(entry);
        files.insert(path.clone(), (Entry { path, ..entry }, content));
    }
    reader.drain().map_err(bad)?;
    Ok(files)
}

fn write(files: &Files, out: &mut dyn Write) -> Result<()> {
    let failed = |e| Error::wrap(ErrorKind::Internal, "write the archive", e);
    let mut writer = Writer::new(out);
    for (entry, content) in files.values().filter(|(entry, _)| !entry.path.is_empty()) {
        match entry.kind {
            Kind::File => writer.file(entry, content).map_err(failed)?,
            _ => writer.header(entry).map_err(failed)?,
        }
    }
    writer.finish().map_err(failed).map(drop)
}

fn apply(files: &mut Files, upper: &Files) {
    for path in upper.keys() {
        let start = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        if let Some(name) = path[start..].strip_prefix(b".wh.") {
            let gone = [&path[..start], name].concat();
            files.retain(|p, _| *p != gone && !p.starts_with(&[&gone[..], b"/"].concat()));
        } else {
            files.insert(path.clone(), upper[path].clone());
        }
    }
}

impl State {
    fn chain(&self, chain: Option<&ChainId>) -> Result<Files> {
        let Some(chain) = chain else { return Ok(Files::new()) };
        let (layer, files) =
            self.layers.get(chain).ok_or_else(|| Error::not_found(format!("no layer {chain}")))?;
        let mut all = self.chain(layer.parent.as_ref())?;
        apply(&mut all, files);
        Ok(all)
    }

    fn tree(&self, tree: Tree<'_>) -> Result<Files> {
        match tree {
            Tree::Layer(chain) => self.chain(Some(chain)),
            Tree::Live(_) => Err(Error::unsupported("nothing runs in a tree that is only remembered")),
            Tree::Snapshot(key) => {
                let (parent, files) = self.snapshot(key)?;
                let mut all = self.chain(parent.as_ref())?;
                apply(&mut all, files);
                Ok(all)
            }
        }
    }

    fn snapshot(&self, key: &str) -> Result<&(Option<ChainId>, Files)> {
        self.snapshots.get(key).ok_or_else(|| Error::not_found(format!("no snapshot {key}")))
    }

    fn add(&mut self, parent: Option<ChainId>, diff_id: DiffId, files: Files) -> Layer {
        let size = files.values().map(|(_, content)| content.len() as u64).sum();
        let layer = Layer {
            chain_id: ChainId::extend(parent.as_ref(), &diff_id),
            diff_id,
            parent,
            size,
            tar: None,
            own: size,
        };
        self.layers.entry(layer.chain_id.clone()).or_insert((layer, files)).0.clone()
    }
}

impl MemorySnapshots {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mount(key: &str) -> RootMount {
        RootMount::Bind { path: Path::new("/fake").join(key) }
    }
}

impl Snapshots for MemorySnapshots {
    fn unpack(&self, parent: Option<&ChainId>, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Layer> {
        if let Some((layer, _)) = self.state().layers.get(&ChainId::extend(parent, diff_id)) {
            return Ok(layer.clone());
        }
        self.state().chain(parent)?;
        let mut bytes = Vec::new();
        tar.read_to_end(&mut bytes).map_err(|e| Error::wrap(ErrorKind::Internal, "read the layer", e))?;
        let digest = Digest::sha256(&bytes);
        if digest != diff_id.0 {
            return Err(crate::blobs::mismatch(&diff_id.0, &digest));
        }
        let files = parse(&mut &bytes[..], b"")?;
        Ok(self.state().add(parent.cloned(), diff_id.clone(), files))
    }

    fn layer(&self, chain: &ChainId) -> Result<Option<Layer>> {
        Ok(self.state().layers.get(chain).map(|(layer, _)| layer.clone()))
    }

    fn layers(&self) -> Result<Vec<Layer>> {
        Ok(self.state().layers.values().map(|(layer, _)| layer.clone()).collect())
    }

    fn remove_layer(&self, chain: &ChainId) -> Result<()> {
        let mut state = self.state();
        let below = state.layers.values().any(|(layer, _)| layer.parent.as_ref() == Some(chain));
        if below || state.snapshots.values().any(|(parent, _)| parent.as_ref() == Some(chain)) {
            return Err(Error::conflict(format!("layer {chain} is used")));
        }
        state.layers.remove(chain).map(drop).ok_or_else(|| Error::not_found(format!("no layer {chain}")))
    }

    fn prepare(&self, key: &str, parent: Option<&ChainId>) -> Result<RootMount> {
        let mut state = self.state();
        state.chain(parent)?;
        if state.snapshots.contains_key(key) {
            return Err(Error::conflict(format!("the snapshot {key} exists already")));
        }
        state.snapshots.insert(key.to_owned(), (parent.cloned(), Files::new()));
        Ok(Self::mount(key))
    }

    fn root(&self, key: &str) -> Result<RootMount> {
        self.state().snapshot(key).map(|_| Self::mount(key))
    }

    fn view(&self, chain: &ChainId) -> Result<Vec<PathBuf>> {
        self.state().chain(Some(chain)).map(|_| vec![PathBuf::from("/fake")])
    }

    fn size(&self, key: &str) -> Result<u64> {
        Ok(self.state().snapshot(key)?.1.values().map(|(_, content)| content.len() as u64).sum())
    }

    fn changes(&self, key: &str) -> Result<Vec<PathChange>> {
        let state = self.state();
        let (parent, files) = state.snapshot(key)?;
        let below = state.chain(parent.as_ref())?;
        let kind =
            |path: &[u8]| if below.contains_key(path) { ChangeKind::Modified } else { ChangeKind::Added };
        let change = |path: &Vec<u8>| PathChange {
            kind: kind(path),
            path: Path::new("/").join(String::from_utf8_lossy(path).as_ref()),
        };
        Ok(files.keys().map(change).collect())
    }

    fn export(&self, key: &str, out: &mut dyn Write) -> Result<()> {
        write(&self.state().snapshot(key)?.1, out)
    }

    fn commit(&self, key: &str, tar: &mut dyn Write) -> Result<Layer> {
        let mut state = self.state();
        let mut bytes = Vec::new();
        write(&state.snapshot(key)?.1, &mut bytes)?;
        tar.write_all(&bytes).map_err(|e| Error::wrap(ErrorKind::Internal, "write the layer", e))?;
        let (parent, files) = state.snapshots.remove(key).unwrap_or_default();
        Ok(state.add(parent, DiffId(Digest::sha256(&bytes)), files))
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.state().snapshots.remove(key);
        Ok(())
    }

    fn stat(&self, tree: Tree<'_>, path: &Path, _follow: bool) -> Result<Option<PathStat>> {
        let files = self.state().tree(tree)?;
        let key = path_key(path);
        let directory = PathStat { mode: 0o040_755, size: 0, uid: 0, gid: 0, mtime: 0, link: None };
        if let Some((entry, content)) = files.get(&key) {
            let kind = match entry.kind {
                Kind::Directory => 0o040_000,
                Kind::Symlink => 0o120_000,
                _ => 0o100_000,
            };
            let link = (entry.kind == Kind::Symlink)
                .then(|| String::from_utf8_lossy(&entry.link).into_owned().into());
            return Ok(Some(PathStat {
                mode: kind | entry.mode,
                size: content.len() as u64,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtime.seconds,
                link,
            }));
        }
        let implied = key.is_empty() || files.keys().any(|p| p.starts_with(&[&key[..], b"/"].concat()));
        Ok(implied.then_some(directory))
    }

    fn read_file(&self, tree: Tree<'_>, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        let files = self.state().tree(tree)?;
        let found = files.get(&path_key(path)).filter(|(entry, _)| entry.kind == Kind::File);
        Ok(found.map(|(_, content)| {
            content[..usize::try_from(limit).unwrap_or(usize::MAX).min(content.len())].to_vec()
        }))
    }

    fn read_tar(&self, tree: Tree<'_>, path: &Path, called: Option<&str>, out: &mut dyn Write) -> Result<()> {
        let files = self.state().tree(tree)?;
        let top = path_key(path);
        let cut = top.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let shown = |p: &[u8]| match called {
            Some(name) => [name.as_bytes(), &p[top.len()..]].concat(),
            None => p[cut..].to_vec(),
        };
        let inside = |p: &[u8]| top.is_empty() || p == top || p.starts_with(&[&top[..], b"/"].concat());
        let found: Files = files
            .into_iter()
            .filter(|(p, _)| inside(p))
            .map(|(p, (entry, content))| (p.clone(), (Entry { path: shown(&p), ..entry }, content)))
            .collect();
        if found.is_empty() && !top.is_empty() {
            return Err(Error::not_found(format!("could not find the file {} in the tree", path.display())));
        }
        write(&found, out)
    }

    fn write_tar(&self, key: &str, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()> {
        let mut files = parse(tar, &path_key(at))?;
        for (entry, _) in files.values_mut() {
            (entry.uid, entry.gid) = options.owner.unwrap_or((entry.uid, entry.gid));
            entry.mode = options.mode.unwrap_or(entry.mode);
        }
        let mut state = self.state();
        let snapshot =
            state.snapshots.get_mut(key).ok_or_else(|| Error::not_found(format!("no snapshot {key}")))?;
        let at = path_key(at);
        if !at.is_empty() {
            snapshot.1.entry(at.clone()).or_insert((Entry::new(Kind::Directory, at), Vec::new()));
        }
        snapshot.1.extend(files);
        Ok(())
    }

    fn remove_stub(&self, key: &str, path: &Path) -> Result<bool> {
        let mut state = self.state();
        let snapshot =
            state.snapshots.get_mut(key).ok_or_else(|| Error::not_found(format!("no snapshot {key}")))?;
        let path = path_key(path);
        let inside = [&path[..], b"/"].concat();
        let is_stub = match snapshot.1.get(&path) {
            Some((entry, content)) if entry.kind == Kind::File => content.is_empty(),
            Some((entry, _)) if entry.kind == Kind::Directory => {
                !snapshot.1.keys().any(|other| other.starts_with(&inside))
            }
            _ => false,
        };
        if is_stub {
            snapshot.1.remove(&path);
        }
        Ok(is_stub)
    }

    fn write_live(
        &self,
        live: Live<'_>,
        _at: &Path,
        _tar: &mut dyn Read,
        _options: WriteOptions,
    ) -> Result<()> {
        self.state().tree(Tree::Live(live)).map(drop)
    }

    fn populate(&self, tree: Tree<'_>, _path: &Path, _target: &Path) -> Result<()> {
        self.state().tree(tree).map(drop)
    }

    fn keys(&self) -> Result<Vec<String>> {
        Ok(self.state().snapshots.keys().cloned().collect())
    }

    fn recover(&self) -> Result<()> {
        Ok(())
    }
}
