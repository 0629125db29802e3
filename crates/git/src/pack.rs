//! Packs (gitformat-pack(5)): objects, and differences between them.

use flate2::bufread::ZlibDecoder;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};

/// Objects of a pack: more than the largest public repositories have at one commit.
const MAX_OBJECTS: u32 = 8 << 20;
/// Bytes of one object, which is in memory while it is used.
const MAX_OBJECT: u64 = 512 << 20;
/// Differences on differences: Git itself makes 50.
const MAX_CHAIN: usize = 4096;
/// Bytes of objects that are kept at hand: what others are told by comes again and again.
const CACHE: usize = 64 << 20;

/// The name of an object: the digest of what it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id([u8; 20]);

impl Id {
    /// Reads 40 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 20];
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(id))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn of(kind: Kind, content: &[u8]) -> Self {
        let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(format!("{} {}\0", kind.name(), content.len()).as_bytes());
        hash.update(content);
        let mut id = [0; 20];
        id.copy_from_slice(hash.finish().as_ref());
        Self(id)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// What is stored at a place of the pack.
#[derive(Debug, Clone, Copy)]
enum Stored {
    Whole(Kind),
    /// By the difference from what is at another place.
    Offset(u64),
    /// By the difference from an object of this pack.
    Named(Id),
}

#[derive(Debug, Clone, Copy)]
struct Item {
    stored: Stored,
    size: u64,
    /// Where its compressed bytes begin.
    body: u64,
}

/// An object.
#[derive(Clone)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) content: Arc<Vec<u8>>,
}

/// A pack with all its objects found.
pub(crate) struct Pack {
    file: BufReader<File>,
    items: BTreeMap<u64, Item>,
    places: HashMap<Id, u64>,
    cache: HashMap<u64, Object>,
    cached: usize,
}

fn broken(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, format!("the Git server's pack is broken: {}", why.into()))
}

fn unread(e: std::io::Error) -> Error {
    Error::wrap(ErrorKind::Internal, "read the Git server's pack", e)
}

impl Pack {
    /// Looks through a pack, and names every object by its own digest.
    pub(crate) fn open(mut file: File) -> Result<Self> {
        file.seek(SeekFrom::Start(0)).map_err(unread)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let items = scan(&mut file)?;
        let mut pack = Self { file, items, places: HashMap::new(), cache: HashMap::new(), cached: 0 };
        pack.name_all()?;
        Ok(pack)
    }

    /// An object of the pack; `None` when it is not there.
    pub(crate) fn object(&mut self, id: Id) -> Result<Option<Object>> {
        let Some(at) = self.places.get(&id).copied() else { return Ok(None) };
        self.at(at).map(Some)
    }

    /// Gives up what is at hand: many packs may be kept until they are written out.
    pub(crate) fn rest(&mut self) {
        self.cache = HashMap::new();
        self.cached = 0;
    }

    /// The commit that begins with these hex digits, if one does.
    pub(crate) fn commit_beginning(&mut self, digits: &str) -> Result<Option<Id>> {
        let ids: Vec<Id> =
            self.places.keys().filter(|id| id.to_string().starts_with(digits)).copied().collect();
        let mut found = None;
        for id in ids {
            if self.object(id)?.is_some_and(|object| object.kind == Kind::Commit) {
                if found.is_some() {
                    return Err(Error::invalid(format!("several commits begin with {digits}")));
                }
                found = Some(id);
            }
        }
        Ok(found)
    }

    /// All commits.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn commits(&mut self) -> Result<Vec<Id>> {
        let ids: Vec<Id> = self.places.keys().copied().collect();
        let mut found = Vec::new();
        for id in ids {
            if self.object(id)?.is_some_and(|object| object.kind == Kind::Commit) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// What is told by a name can only be read when that is known, so several rounds may be needed.
    fn name_all(&mut self) -> Result<()> {
        let mut waiting: Vec<u64> = self.items.keys().copied().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for at in waiting {
                if self.needs_name(at)? {
                    later.push(at);
                    continue;
                }
                let object = self.at(at)?;
                self.places.insert(Id::of(object.kind, &object.content), at);
            }
            if later.len() == before {
                return Err(broken("it tells objects by others that are not in it"));
            }
            waiting = later;
        }
        Ok(())
    }

    fn needs_name(&self, mut at: u64) -> Result<bool> {
        for _ in 0..MAX_CHAIN {
            match self.item(at)?.stored {
                Stored::Whole(_) => return Ok(false),
                Stored::Offset(base) => at = base,
                Stored::Named(id) => match self.places.get(&id) {
                    Some(base) => at = *base,
                    None => return Ok(true),
                },
            }
        }
        Err(broken("differences on differences without end"))
    }

    fn item(&self, at: u64) -> Result<Item> {
        self.items.get(&at).copied().ok_or_else(|| broken("a difference is from nothing"))
    }

    fn at(&mut self, at: u64) -> Result<Object> {
        let mut chain = vec![at];
        let mut object = loop {
            let here = chain.last().copied().unwrap_or(at);
            if let Some(object) = self.cache.get(&here) {
                chain.pop();
                break object.clone();
            }
            let item = self.item(here)?;
            match item.stored {
                Stored::Whole(kind) => {
                    chain.pop();
                    let object = Object { kind, content: Arc::new(self.inflate(item)?) };
                    self.keep(here, &object);
                    break object;
                }
                Stored::Offset(base) => chain.push(base),
                Stored::Named(id) => match self.places.get(&id) {
                    Some(base) => chain.push(*base),
                    None => return Err(broken(format!("{id} is not in it"))),
                },
            }
            if chain.len() > MAX_CHAIN {
                return Err(broken("differences on differences without end"));
            }
        };
        while let Some(here) = chain.pop() {
            let delta = self.inflate(self.item(here)?)?;
            object = Object { kind: object.kind, content: Arc::new(apply(&object.content, &delta)?) };
            self.keep(here, &object);
        }
        Ok(object)
    }

    fn keep(&mut self, at: u64, object: &Object) {
        if object.content.len() > CACHE / 8 {
            return;
        }
        if self.cached + object.content.len() > CACHE {
            self.cache.clear();
            self.cached = 0;
        }
        self.cached += object.content.len();
        self.cache.insert(at, object.clone());
    }

    fn inflate(&mut self, item: Item) -> Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(item.body)).map_err(unread)?;
        inflate(&mut self.file, item.size)
    }
}

/// Inflates exactly as many bytes as were announced.
fn inflate(input: &mut impl BufRead, size: u64) -> Result<Vec<u8>> {
    if size > MAX_OBJECT {
        return Err(Error::unsupported(format!(
            "a file of the repository has {size} bytes: {MAX_OBJECT} at most"
        )));
    }
    let mut content = Vec::new();
    // One more would be too many, and the end of the stream is read for its checksum.
    ZlibDecoder::new(input).take(size + 1).read_to_end(&mut content).map_err(unread)?;
    if content.len() as u64 != size { Err(broken("an object is of another size")) } else { Ok(content) }
}

/// Finds where everything is.
fn scan(file: &mut BufReader<File>) -> Result<BTreeMap<u64, Item>> {
    let mut header = [0; 12];
    file.read_exact(&mut header).map_err(unread)?;
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..4] != b"PACK" || !matches!(number(4), 2 | 3) {
        return Err(broken("it does not begin as one"));
    }
    let count = number(8);
    if count > MAX_OBJECTS {
        return Err(Error::unsupported(format!("the repository has {count} objects: {MAX_OBJECTS} at most")));
    }
    let mut items = BTreeMap::new();
    for _ in 0..count {
        let at = file.stream_position().map_err(unread)?;
        let (kind, size) = begin(file)?;
        let stored = match kind {
            1 => Stored::Whole(Kind::Commit),
            2 => Stored::Whole(Kind::Tree),
            3 => Stored::Whole(Kind::Blob),
            4 => Stored::Whole(Kind::Tag),
            6 => {
                let back = distance(file)?;
                Stored::Offset(
                    at.checked_sub(back)
                        .filter(|_| back > 0)
                        .ok_or_else(|| broken("a difference is from before it"))?,
                )
            }
            7 => {
                let mut id = [0; 20];
                file.read_exact(&mut id).map_err(unread)?;
                Stored::Named(Id(id))
            }
            other => return Err(broken(format!("an object of kind {other}"))),
        };
        let body = file.stream_position().map_err(unread)?;
        inflate(file, size)?;
        items.insert(at, Item { stored, size, body });
    }
    Ok(items)
}

fn byte(file: &mut impl Read) -> Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte).map_err(unread)?;
    Ok(byte[0])
}

/// Kind and size: three bits, and seven of each further byte after the first four.
fn begin(file: &mut impl Read) -> Result<(u8, u64)> {
    let first = byte(file)?;
    let (kind, mut size, mut shift) = (first >> 4 & 7, u64::from(first & 15), 4);
    let mut more = first & 0x80 != 0;
    while more {
        let next = byte(file)?;
        if shift > 56 {
            return Err(broken("a size is too large"));
        }
        size |= u64::from(next & 0x7f) << shift;
        shift += 7;
        more = next & 0x80 != 0;
    }
    Ok((kind, size))
}

/// How far back: seven bits a byte, the highest first, each but the last one more.
fn distance(file: &mut impl Read) -> Result<u64> {
    let mut next = byte(file)?;
    let mut back = u64::from(next & 0x7f);
    while next & 0x80 != 0 {
        next = byte(file)?;
        back = back
            .checked_add(1)
            .and_then(|n| n.checked_mul(128))
            .ok_or_else(|| broken("a distance is too large"))?;
        back += u64::from(next & 0x7f);
    }
    Ok(back)
}

/// Applies a difference (gitformat-pack(5), "Deltified representation").
fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>> {
    let mut delta = delta;
    let short = || broken("a difference ends early");
    let wrong = || broken("a difference does not fit");
    if length(&mut delta).ok_or_else(short)? != base.len() as u64 {
        return Err(wrong());
    }
    let size = length(&mut delta).ok_or_else(short)?;
    if size > MAX_OBJECT {
        return Err(wrong());
    }
    let mut out = Vec::new();
    while let Some(command) = take(&mut delta) {
        if command & 0x80 == 0 {
            let (copied, rest) =
                delta.split_at_checked(usize::from(command)).filter(|_| command > 0).ok_or_else(short)?;
            out.extend_from_slice(copied);
            delta = rest;
        } else {
            let mut number = |bits: std::ops::Range<u8>| {
                let mut value = 0usize;
                for (at, bit) in bits.enumerate() {
                    if command >> bit & 1 == 1 {
                        value |= usize::from(take(&mut delta)?) << (8 * at);
                    }
                }
                Some(value)
            };
            let from = number(0..4).ok_or_else(short)?;
            let count = number(4..7).ok_or_else(short)?;
            let count = if count == 0 { 0x10000 } else { count };
            let end = from.checked_add(count).ok_or_else(wrong)?;
            out.extend_from_slice(base.get(from..end).ok_or_else(wrong)?);
        }
        if out.len() as u64 > size {
            return Err(wrong());
        }
    }
    if out.len() as u64 == size { Ok(out) } else { Err(wrong()) }
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn length(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let next = take(bytes)?;
        value |= u64::from(next & 0x7f).checked_shl(shift)?;
        shift += 7;
        if next & 0x80 == 0 {
            return Some(value);
        }
        if shift > 56 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn pack(objects: &[Vec<u8>]) -> Result<Pack> {
        let mut bytes = [&b"PACK"[..], &2u32.to_be_bytes(), &(objects.len() as u32).to_be_bytes()].concat();
        objects.iter().for_each(|object| bytes.extend_from_slice(object));
        bytes.extend_from_slice(&[0; 20]);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        Pack::open(file)
    }

    fn whole(kind: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 16);
        [&[kind << 4 | content.len() as u8][..], &deflated(content)].concat()
    }

    #[test]
    fn objects_and_differences() {
        let base = whole(3, b"hello\n");
        let id = Id::parse("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        // Five bytes of the base, then one of its own.
        let delta = [6, 6, 0x90, 5, 1, b'!'];
        let by_offset = [&[6 << 4 | 6][..], &[base.len() as u8], &deflated(&delta)].concat();
        let by_name = [&[7 << 4 | 6][..], &id.0, &deflated(&delta)].concat();
        // What is told by a name may come before it.
        let mut found = pack(&[by_name, base, by_offset]).unwrap();
        let object = found.object(id).unwrap().unwrap();
        assert_eq!((object.kind, &object.content[..]), (Kind::Blob, &b"hello\n"[..]));
        let told = Id::of(Kind::Blob, b"hello!");
        assert_eq!(&found.object(told).unwrap().unwrap().content[..], b"hello!");
        assert_eq!(found.places.len(), 2);
        assert!(found.object(Id([1; 20])).unwrap().is_none());
    }

    #[test]
    fn what_is_broken() {
        let lost = [&[7 << 4 | 1][..], &[9; 20], &deflated(&[0])].concat();
        let itself = [&[6 << 4 | 1][..], &[0], &deflated(&[0])].concat();
        let before = [&[6 << 4 | 1][..], &[99], &deflated(&[0])].concat();
        let longer = [&[3 << 4 | 1][..], &deflated(b"12")].concat();
        for bad in [lost, itself, before, longer, vec![5 << 4], vec![0xff; 12], vec![]] {
            assert!(pack(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        for delta in [&[][..], &[3, 1, 1], &[2, 1, 0x91, 2, 9], &[2, 9, 1, b'a'], &[2, 1, 0], &[2, 1, 5, 1]] {
            assert!(apply(b"ab", delta).is_err(), "{delta:?}");
        }
    }
}
