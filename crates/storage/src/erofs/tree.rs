//! A file tree in memory, made of a layer's entries by the rules that extracting them into a directory has.

use crate::snapshots::extract::{WHITEOUT_META_PREFIX, WHITEOUT_OPAQUE, WHITEOUT_PREFIX, failed, outside};
use crate::snapshots::inside;
use rustix::io::Errno;
use std::collections::BTreeMap;
use wharf_model::Result;
use wharf_oci::tar::{Entry, Kind, Timestamp};

/// Links that may follow each other; the kernel's own bound (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Bytes of a name and of a path that the kernel takes (limits.h: NAME_MAX, PATH_MAX without its zero).
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 4095;
/// Files that a layer may have, directories it only implies among them: several times those of the largest known. While
/// an index is made each takes less than 1 KiB of memory.
pub(crate) const MAX_INODES: usize = 1_000_000;
/// Bytes of names, links and attributes that a layer may have: the index holds them, and memory while it is made.
const MAX_BYTES: usize = 128 << 20;
/// Names that may be looked up for a layer's entries, those on the way of links among them: five times those of the largest
/// layer with deep directories. A few KB of links that lead through each other would else take minutes.
const MAX_STEPS: u64 = 50_000_000;
/// Numbers of devices that an inode holds (Linux, `new_encode_dev`).
const MAX_MAJOR: u32 = 0xfff;
const MAX_MINOR: u32 = 0xf_ffff;

/// An inode's place in its tree.
pub(super) type Id = usize;
/// The root directory's.
pub(super) const ROOT: Id = 0;

/// Where a file's content begins: a device of the index and a block of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// From 0.
    pub(crate) device: u16,
    /// In blocks of [`super::BLOCK`].
    pub(crate) block: u32,
}

/// Attributes of the root directory, which no archive sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Root {
    /// Permission bits.
    pub(crate) mode: u32,
    /// The owner's number.
    pub(crate) uid: u32,
    /// The group's number.
    pub(crate) gid: u32,
}

impl Default for Root {
    fn default() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0 }
    }
}

/// What an inode is, with what its kind alone has.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Directory(BTreeMap<Vec<u8>, Id>),
    /// `None` when it is empty.
    File(Option<Extent>),
    Link(Vec<u8>),
    /// Char, block or fifo; with the device's number as an inode has it.
    Node(Kind, u32),
    /// Hides what layers below have under its name.
    Whiteout,
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) body: Body,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) size: u64,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A directory that hides those below it.
    pub(super) opaque: bool,
    /// A directory that no entry of its own describes: it looks like the one below it.
    pub(super) implied: bool,
}

impl Inode {
    fn new(entry: &Entry, body: Body, size: u64) -> Self {
        Self {
            body,
            mode: entry.mode & 0o7777,
            uid: owner(entry.uid),
            gid: owner(entry.gid),
            mtime: entry.mtime,
            size,
            xattrs: Vec::new(),
            opaque: false,
            implied: false,
        }
    }

    fn directory() -> Self {
        let entry = Entry::new(Kind::Directory, "");
        Self { implied: true, ..Self::new(&entry, Body::Directory(BTreeMap::new()), 0) }
    }

    fn whiteout() -> Self {
        let entry = Entry { mode: 0, ..Entry::new(Kind::Char, "") };
        Self::new(&entry, Body::Whiteout, 0)
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }
}

/// Files and directories of a layer, or of several merged.
pub(crate) struct Tree {
    pub(super) inodes: Vec<Inode>,
    /// Bytes of names, links and attributes so far.
    bytes: usize,
    /// Names looked up so far.
    steps: u64,
    /// The directory of the last entry: most entries are in the same one.
    last: Option<(Vec<u8>, Id)>,
}

impl Tree {
    /// An empty one.
    pub(crate) fn new(root: Root) -> Self {
        let directory = Inode { mode: root.mode, uid: root.uid, gid: root.gid, ..Inode::directory() };
        Self { inodes: vec![directory], bytes: 0, steps: 0, last: None }
    }

    /// Files there are, at most.
    pub(crate) fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Puts an entry in its place. `extent` is where the content of a file lies.
    ///
    /// # Errors
    /// `Invalid` for what would lead out of the tree, and for what a file system would not take.
    pub(crate) fn put(&mut self, entry: &Entry, extent: Option<Extent>) -> Result<()> {
        self.bytes += entry.link.len() + portable_bytes(entry);
        self.check_bounds(entry)?;
        let parts = inside::components(&entry.path)
            .ok_or_else(|| outside(entry, "its name leads out of the archive"))?;
        let Some((name, parents)) = parts.split_last() else {
            return match entry.kind {
                // The root stays as it is.
                Kind::Directory => Ok(()),
                _ => Err(failed(entry, Errno::ISDIR.into())),
            };
        };
        if name.starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(entry, parents, name);
        }
        let refused = |e: Errno| failed(entry, e.into());
        let dir = self.parent(parents).map_err(refused)?;
        check_name(name).map_err(refused)?;
        match entry.kind {
            Kind::Directory => self.directory(entry, dir, name),
            Kind::HardLink => return self.hard_link(entry, dir, name),
            _ => {
                let inode = leaf(entry, extent).map_err(refused)?;
                self.replace(dir, name, inode);
            }
        }
        Ok(())
    }

    /// An archive of a few bytes may describe a tree of any size.
    fn check_bounds(&self, entry: &Entry) -> Result<()> {
        if self.inodes.len() <= MAX_INODES && self.bytes <= MAX_BYTES {
            return Ok(());
        }
        Err(wharf_model::Error::invalid(format!(
            "refuse the archive at its entry {:?}: it has more than {MAX_INODES} files, or more than {} MiB of names, links \
             and attributes: split the layer",
            entry.name(),
            MAX_BYTES >> 20
        )))
    }

    fn directory(&mut self, entry: &Entry, dir: Id, name: &[u8]) {
        let there = self.child(dir, name);
        if let Some(id) = there
            && let inode = &mut self.inodes[id]
            && inode.is_directory()
        {
            let body = std::mem::replace(&mut inode.body, Body::Whiteout);
            *inode = Inode { opaque: inode.opaque, xattrs: portable(entry), ..Inode::new(entry, body, 0) };
            return;
        }
        let body = Body::Directory(BTreeMap::new());
        let made = Inode { opaque: there.is_some(), xattrs: portable(entry), ..Inode::new(entry, body, 0) };
        self.replace(dir, name, made);
    }

    /// The target is a name in the same archive.
    fn hard_link(&mut self, entry: &Entry, dir: Id, name: &[u8]) -> Result<()> {
        let target = inside::components(&entry.link)
            .ok_or_else(|| outside(entry, "its target leads out of the archive"))?;
        let Some((target_name, parents)) = target.split_last() else {
            return Err(outside(entry, "its target is the root"));
        };
        let parents: Vec<&[u8]> = parents.to_vec();
        let found = match self.walk(&parents, false) {
            Ok(parent) => self.child(parent, target_name),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(e) => return Err(failed(entry, e.into())),
        };
        match found {
            Some(id) if self.inodes[id].is_directory() => Err(outside(entry, "its target is a directory")),
            Some(id) if !matches!(self.inodes[id].body, Body::Whiteout) => {
                self.set_child(dir, name, id);
                Ok(())
            }
            _ => Err(outside(entry, "its target is not in the archive")),
        }
    }

    /// `.wh.name` hides `name` of the layers below; `.wh..wh..opq` hides all of its directory.
    fn whiteout(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8]) -> Result<()> {
        if name != WHITEOUT_OPAQUE && name.starts_with(WHITEOUT_META_PREFIX) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(outside(entry, "it is a whiteout of no name"));
        }
        let refused = |e: Errno| failed(entry, e.into());
        let dir = self.parent(parents).map_err(refused)?;
        if name == WHITEOUT_OPAQUE {
            self.inodes[dir].opaque = true;
            return Ok(());
        }
        check_name(hidden).map_err(refused)?;
        match self.child(dir, hidden) {
            // This layer's own entry stays; a directory hides only what is below it.
            Some(id) if self.inodes[id].is_directory() => self.inodes[id].opaque = true,
            Some(_) => {}
            None => {
                self.replace(dir, hidden, Inode::whiteout());
            }
        }
        Ok(())
    }

    /// The directory an entry is put into, made with its parents when the archive does not have them.
    fn parent(&mut self, parts: &[&[u8]]) -> Result<Id, Errno> {
        let path = parts.join(&b'/');
        if path.len() > MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        if let Some((last, id)) = &self.last
            && *last == path
        {
            return Ok(*id);
        }
        let id = self.walk(parts, true)?;
        self.last = Some((path, id));
        Ok(id)
    }

    /// The directory at a path; links are followed inside the tree. With `make` what is not there is made.
    fn walk(&mut self, parts: &[&[u8]], make: bool) -> Result<Id, Errno> {
        let mut pending: Vec<Vec<u8>> = parts.iter().rev().map(|p| p.to_vec()).collect();
        let mut stack: Vec<Id> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(Errno::LOOP);
            }
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    stack.pop();
                    continue;
                }
                name => check_name(name)?,
            }
            let dir = stack.last().copied().unwrap_or(ROOT);
            let found = self.child(dir, &name);
            match found.map(|id| (id, &self.inodes[id].body)) {
                Some((id, Body::Directory(_))) => stack.push(id),
                Some((_, Body::Link(target))) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.first() == Some(&b'/') {
                        stack.clear();
                    }
                    pending.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                }
                None if !make => return Err(Errno::NOENT),
                _ if self.inodes.len() > MAX_INODES => return Err(Errno::FBIG),
                found @ (None | Some((_, Body::Whiteout))) if make => {
                    let made = Inode { opaque: found.is_some(), ..Inode::directory() };
                    stack.push(self.replace(dir, &name, made));
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(stack.pop().unwrap_or(ROOT))
    }

    fn child(&self, dir: Id, name: &[u8]) -> Option<Id> {
        self.children(dir).and_then(|children| children.get(name).copied())
    }

    pub(super) fn children(&self, dir: Id) -> Option<&BTreeMap<Vec<u8>, Id>> {
        match &self.inodes[dir].body {
            Body::Directory(children) => Some(children),
            _ => None,
        }
    }

    fn replace(&mut self, dir: Id, name: &[u8], inode: Inode) -> Id {
        let id = self.inodes.len();
        self.inodes.push(inode);
        self.set_child(dir, name, id);
        id
    }

    pub(super) fn set_child(&mut self, dir: Id, name: &[u8], id: Id) {
        self.bytes += name.len();
        let Body::Directory(children) = &mut self.inodes[dir].body else { return };
        if let Some(before) = children.insert(name.to_vec(), id)
            && before != id
        {
            // The last directory may have been below what is gone.
            self.last = None;
        }
    }
}

fn check_name(name: &[u8]) -> Result<(), Errno> {
    if name.len() > MAX_NAME { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

/// Anything but a directory and a hard link.
fn leaf(entry: &Entry, extent: Option<Extent>) -> Result<Inode, Errno> {
    Ok(match entry.kind {
        Kind::Symlink => match entry.link.len() {
            0 => return Err(Errno::NOENT),
            1..=MAX_PATH => {
                let body = Body::Link(entry.link.clone());
                Inode { mode: 0o777, ..Inode::new(entry, body, entry.link.len() as u64) }
            }
            _ => return Err(Errno::NAMETOOLONG),
        },
        kind @ (Kind::Char | Kind::Block | Kind::Fifo) => {
            let (major, minor) = entry.device;
            if major > MAX_MAJOR || minor > MAX_MINOR {
                return Err(Errno::INVAL);
            }
            // Overlayfs takes the device 0/0 for a whiteout, wherever it comes from.
            if kind == Kind::Char && entry.device == (0, 0) {
                return Ok(Inode::whiteout());
            }
            let number = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
            Inode::new(entry, Body::Node(kind, number), 0)
        }
        _ => Inode { xattrs: portable(entry), ..Inode::new(entry, Body::File(extent), entry.size) },
    })
}

/// The number -1 is nobody: as chown(2) leaves an owner, so that the file is root's.
fn owner(id: u32) -> u32 {
    if id == u32::MAX { 0 } else { id }
}

fn portable_bytes(entry: &Entry) -> usize {
    let portable = entry.xattrs.iter().filter(|(name, _)| inside::is_portable_xattr(name));
    portable.map(|(name, value)| name.len() + value.len()).sum()
}

fn portable(entry: &Entry) -> Vec<(Vec<u8>, Vec<u8>)> {
    entry.xattrs.iter().filter(|(name, _)| inside::is_portable_xattr(name)).cloned().collect()
}
