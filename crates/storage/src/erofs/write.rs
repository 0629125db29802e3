//! Writing a tree as an EROFS image without content.

use super::BLOCK;
use super::tree::{Body, Extent, Id, Inode, ROOT, Tree};
use std::collections::HashMap;
use std::io;
use wharf_oci::tar::Kind;

const MAGIC: u32 = 0xe0f5_e1e2;
/// Where the superblock is, and how long it is.
const SUPERBLOCK: usize = 1024;
const SUPERBLOCK_SIZE: usize = 128;
const DEVICE_SIZE: usize = 128;
/// Bytes of a device's tag.
const TAG_SIZE: usize = 64;
/// `EROFS_FEATURE_COMPAT_MTIME`.
const COMPAT_MTIME: u32 = 0x2;
/// `EROFS_FEATURE_INCOMPAT_CHUNKED_FILE | EROFS_FEATURE_INCOMPAT_DEVICE_TABLE`.
const INCOMPAT: u32 = 0x4 | 0x8;
/// Inodes lie at multiples of this.
const SLOT: u64 = 32;
/// Bytes of an extended inode.
const INODE: u64 = 64;
/// Layouts of an inode's data: blocks of the image, behind the inode, chunks of a device.
const PLAIN: u16 = 0;
const INLINE: u16 = 2;
const CHUNKS: u16 = 4;
/// `EROFS_CHUNK_FORMAT_INDEXES`.
const INDEXES: u32 = 0x20;
const INDEX: u64 = 8;
/// Data that is kept behind its inode: it fits into a block wherever the inode ends.
const MAX_INLINE: usize = 448;
/// Bytes of a directory's entry without its name.
const DIRENT: usize = 12;
const XATTR_HEADER: usize = 12;
/// Attributes of one inode: its count of 4-byte words has 16 bits.
const MAX_XATTRS: usize = 4 * 0xffff;

/// A file that holds content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its path, relative to the image's directory.
    pub(crate) tag: String,
    /// Bytes.
    pub(crate) size: u64,
}

/// The whole image. With `marks` it has overlayfs' marks of what it hides, for an image that lies on others.
///
/// # Errors
/// `InvalidData` for what the format has no room for.
pub(crate) fn write(tree: &Tree, devices: &[Device], marks: bool) -> io::Result<Vec<u8>> {
    let mut plan = Plan::new(tree, marks);
    plan.visit();
    plan.place(devices.len())?;
    plan.image(devices)
}

struct Plan<'a> {
    tree: &'a Tree,
    marks: bool,
    /// Inodes in the order they are written, each once.
    order: Vec<Id>,
    planned: HashMap<Id, Planned>,
    /// Bytes of all inodes, and then of the blocks behind them.
    end: u64,
    blocks: u64,
}

#[derive(Default)]
struct Planned {
    /// Where it lies.
    at: u64,
    links: u32,
    parent: Id,
    /// The first block of its data.
    block: u64,
    data: usize,
    xattrs: Vec<u8>,
}

impl<'a> Plan<'a> {
    fn new(tree: &'a Tree, marks: bool) -> Self {
        Self { tree, marks, order: Vec::new(), planned: HashMap::new(), end: 0, blocks: 0 }
    }

    fn shown(&self, id: Id) -> bool {
        self.marks || !matches!(self.tree.inodes[id].body, Body::Whiteout)
    }

    /// The names of a directory that are written.
    fn names(&self, id: Id) -> impl Iterator<Item = (&'a [u8], Id)> {
        let children = self.tree.children(id).into_iter().flatten();
        children.map(|(name, id)| (&name[..], *id)).filter(|(_, id)| self.shown(*id))
    }

    /// Counts the names of every inode. Depth is the archive's choice: no recursion.
    fn visit(&mut self) {
        let mut waiting = vec![(ROOT, ROOT)];
        while let Some((id, parent)) = waiting.pop() {
            let planned = self.planned.entry(id).or_default();
            planned.links += 1;
            if planned.links > 1 {
                continue;
            }
            planned.parent = parent;
            self.order.push(id);
            let mut directories = 0;
            let mut below: Vec<(Id, Id)> = Vec::new();
            for (_, child) in self.names(id) {
                directories += u32::from(self.tree.inodes[child].is_directory());
                below.push((child, id));
            }
            if self.tree.inodes[id].is_directory()
                && let Some(planned) = self.planned.get_mut(&id)
            {
                planned.links += 1 + directories;
            }
            waiting.extend(below.into_iter().rev());
        }
        // A directory has one name.
    }

    fn place(&mut self, devices: usize) -> io::Result<()> {
        let start = SUPERBLOCK + SUPERBLOCK_SIZE + devices * DEVICE_SIZE;
        let mut at = (start as u64).next_multiple_of(SLOT);
        let mut blocks = 0;
        for id in self.order.clone() {
            let inode = &self.tree.inodes[id];
            let xattrs = self.xattrs(inode)?;
            let fixed = INODE + xattrs.len() as u64;
            let data = match &inode.body {
                Body::Directory(_) => directory_size(self.entries(id).map(|(name, _, _)| name)),
                Body::Link(target) => target.len(),
                _ => 0,
            };
            let mut behind = 0;
            let mut block = 0;
            if matches!(inode.body, Body::File(Some(_))) {
                behind = INDEX + (fixed.next_multiple_of(INDEX) - fixed);
            } else if data > MAX_INLINE {
                block = blocks;
                blocks += (data as u64).div_ceil(BLOCK);
            } else {
                behind = data as u64;
                // The kernel refuses data that is behind its inode and crosses a block's end.
                while behind > 0 && (at + fixed) % BLOCK + behind > BLOCK {
                    at += SLOT;
                }
            }
            let planned = self.planned.entry(id).or_default();
            (planned.at, planned.block, planned.data, planned.xattrs) = (at, block, data, xattrs);
            at = (at + fixed + behind).next_multiple_of(SLOT);
        }
        self.end = at.next_multiple_of(BLOCK);
        self.blocks = blocks;
        Ok(())
    }

    /// A directory's entries in the order of their names, with `.` and `..`.
    fn entries(&self, id: Id) -> impl Iterator<Item = (&'a [u8], Id, u8)> {
        let parent = self.planned.get(&id).map_or(ROOT, |p| p.parent);
        let mut dots = [(&b"."[..], id), (&b".."[..], parent)].into_iter().peekable();
        let mut names = self.names(id).peekable();
        let tree = self.tree;
        std::iter::from_fn(move || {
            let first = match (dots.peek(), names.peek()) {
                (Some(dot), Some(name)) if name.0 < dot.0 => names.next(),
                (Some(_), _) => dots.next(),
                (None, _) => names.next(),
            };
            first.map(|(name, id)| (name, id, file_type(&tree.inodes[id])))
        })
    }

    fn xattrs(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        let opaque = (self.marks && inode.opaque).then_some((4u8, &b"overlay.opaque"[..], &b"y"[..]));
        let own = inode.xattrs.iter().filter_map(|(name, value)| {
            let (index, rest) = match name.strip_prefix(b"user.") {
                Some(rest) => (1, rest),
                None => (6, name.strip_prefix(b"security.")?),
            };
            Some((index, rest, &value[..]))
        });
        let mut out = Vec::new();
        for (index, name, value) in own.chain(opaque) {
            let length = u8::try_from(name.len()).map_err(|_| no_room("an attribute's name"))?;
            let size = u16::try_from(value.len()).map_err(|_| no_room("an attribute's value"))?;
            if out.is_empty() {
                out.resize(XATTR_HEADER, 0);
            }
            out.extend_from_slice(&[length, index]);
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(value);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        if out.len() > MAX_XATTRS {
            return Err(no_room("a file's attributes"));
        }
        Ok(out)
    }

    fn image(&self, devices: &[Device]) -> io::Result<Vec<u8>> {
        let total = self.end + self.blocks * BLOCK;
        let blocks = u32::try_from(total / BLOCK).map_err(|_| no_room("so many names"))?;
        let mut out = vec![0; usize::try_from(total).map_err(|_| no_room("so many names"))?];
        self.superblock(&mut out, blocks, devices.len())?;
        for (n, device) in devices.iter().enumerate() {
            write_device(&mut out[SUPERBLOCK + SUPERBLOCK_SIZE + n * DEVICE_SIZE..], device)?;
        }
        for (number, id) in self.order.iter().enumerate() {
            self.inode(&mut out, number, *id)?;
        }
        Ok(out)
    }

    fn superblock(&self, out: &mut [u8], blocks: u32, devices: usize) -> io::Result<()> {
        let devices = u16::try_from(devices).map_err(|_| no_room("so many layers"))?;
        let root = self.planned.get(&ROOT).map_or(0, |p| p.at) / SLOT;
        let root = u16::try_from(root).map_err(|_| no_room("so many layers"))?;
        let mut put = |at: usize, bytes: &[u8]| out[SUPERBLOCK + at..][..bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPAT_MTIME.to_le_bytes());
        put(12, &[BLOCK.trailing_zeros() as u8]);
        put(14, &root.to_le_bytes());
        put(16, &(self.order.len() as u64).to_le_bytes());
        put(36, &blocks.to_le_bytes());
        put(64, b"wharf");
        put(80, &INCOMPAT.to_le_bytes());
        put(86, &devices.to_le_bytes());
        put(88, &(((SUPERBLOCK + SUPERBLOCK_SIZE) / DEVICE_SIZE) as u16).to_le_bytes());
        Ok(())
    }

    fn inode(&self, out: &mut [u8], number: usize, id: Id) -> io::Result<()> {
        let (inode, Some(planned)) = (&self.tree.inodes[id], self.planned.get(&id)) else { return Ok(()) };
        let at = planned.at as usize;
        let inline = planned.data > 0 && planned.data <= MAX_INLINE;
        let data_block = self.end / BLOCK + planned.block;
        let (layout, union, size) = match &inode.body {
            Body::File(Some(_)) => (CHUNKS, chunk_format(inode.size), inode.size),
            Body::Node(_, number) => (PLAIN, *number, 0),
            Body::File(None) | Body::Whiteout => (PLAIN, 0, 0),
            _ if inline => (INLINE, 0, planned.data as u64),
            _ => (PLAIN, data_block as u32, planned.data as u64),
        };
        let mut put = |offset: usize, bytes: &[u8]| out[at + offset..][..bytes.len()].copy_from_slice(bytes);
        put(0, &(1 | (layout << 1)).to_le_bytes());
        if !planned.xattrs.is_empty() {
            let count = (planned.xattrs.len() - XATTR_HEADER) / 4 + 1;
            put(2, &(count as u16).to_le_bytes());
        }
        put(4, &((inode.mode | type_bits(inode)) as u16).to_le_bytes());
        put(8, &size.to_le_bytes());
        put(16, &union.to_le_bytes());
        put(20, &(number as u32 + 1).to_le_bytes());
        put(24, &inode.uid.to_le_bytes());
        put(28, &inode.gid.to_le_bytes());
        put(32, &inode.mtime.seconds.to_le_bytes());
        put(40, &inode.mtime.nanos.to_le_bytes());
        put(44, &planned.links.to_le_bytes());
        put(INODE as usize, &planned.xattrs);
        let behind = at + INODE as usize + planned.xattrs.len();
        let place = if inline { behind } else { (data_block * BLOCK) as usize };
        match &inode.body {
            Body::File(Some(extent)) => {
                write_index(&mut out[behind.next_multiple_of(INDEX as usize)..], *extent);
            }
            Body::Link(target) => out[place..][..target.len()].copy_from_slice(target),
            Body::Directory(_) => {
                self.directory(&mut out[place..][..planned.data], id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Each block has its entries, then their names (erofs.rst, "Directories").
    fn directory(&self, out: &mut [u8], id: Id) {
        let entries: Vec<_> = self.entries(id).collect();
        let mut rest = &entries[..];
        for block in out.chunks_mut(BLOCK as usize) {
            let count = fitting(rest.iter().map(|(name, _, _)| *name));
            let (here, later) = rest.split_at(count);
            let mut name_at = DIRENT * count;
            for (n, (name, id, kind)) in here.iter().enumerate() {
                let nid = self.planned.get(id).map_or(0, |p| p.at) / SLOT;
                let entry = &mut block[n * DIRENT..][..DIRENT];
                entry[..8].copy_from_slice(&nid.to_le_bytes());
                entry[8..10].copy_from_slice(&(name_at as u16).to_le_bytes());
                entry[10] = *kind;
                block[name_at..][..name.len()].copy_from_slice(name);
                name_at += name.len();
            }
            rest = later;
        }
    }
}

fn no_room(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an EROFS image has no room for {what}"))
}

/// How many entries fit into a block.
fn fitting<'a>(names: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut used = 0;
    names
        .take_while(|name| {
            used += DIRENT + name.len();
            used <= BLOCK as usize
        })
        .count()
}

fn directory_size<'a>(names: impl Iterator<Item = &'a [u8]>) -> usize {
    let (mut full, mut used) = (0, 0);
    for name in names {
        let entry = DIRENT + name.len();
        if used + entry > BLOCK as usize {
            full += BLOCK as usize;
            used = 0;
        }
        used += entry;
    }
    full + used
}

/// One chunk for the whole file.
fn chunk_format(size: u64) -> u32 {
    let bits = size.div_ceil(BLOCK).next_power_of_two().trailing_zeros();
    INDEXES | bits
}

fn write_index(out: &mut [u8], extent: Extent) {
    out[2..4].copy_from_slice(&(extent.device + 1).to_le_bytes());
    out[4..8].copy_from_slice(&extent.block.to_le_bytes());
}

fn write_device(out: &mut [u8], device: &Device) -> io::Result<()> {
    if device.tag.len() > TAG_SIZE {
        return Err(no_room("a device's path"));
    }
    out[..device.tag.len()].copy_from_slice(device.tag.as_bytes());
    let blocks = u32::try_from(device.size.div_ceil(BLOCK)).map_err(|_| no_room("a device of 2 TiB"))?;
    out[TAG_SIZE..TAG_SIZE + 4].copy_from_slice(&blocks.to_le_bytes());
    Ok(())
}

fn type_bits(inode: &Inode) -> u32 {
    match &inode.body {
        Body::Directory(_) => 0o040_000,
        Body::File(_) => 0o100_000,
        Body::Link(_) => 0o120_000,
        Body::Whiteout | Body::Node(Kind::Char, _) => 0o020_000,
        Body::Node(Kind::Block, _) => 0o060_000,
        Body::Node(..) => 0o010_000,
    }
}

/// `EROFS_FT_*`.
fn file_type(inode: &Inode) -> u8 {
    match &inode.body {
        Body::File(_) => 1,
        Body::Directory(_) => 2,
        Body::Whiteout | Body::Node(Kind::Char, _) => 3,
        Body::Node(Kind::Block, _) => 4,
        Body::Node(..) => 5,
        Body::Link(_) => 7,
    }
}
