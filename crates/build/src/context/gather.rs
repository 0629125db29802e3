//! A context that comes file by file, with the contents of several files mixed: each has its place in the one file kept free.
//! What did not change since an earlier context of the same directory is at its place already.

use super::spool::Spool;
use super::{Context, Item, clean, spool};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::tar::{Entry, Kind};

/// Bytes of a name, Linux's own limit.
const MAX_NAME: usize = 4096;
/// Bytes of all names, links and attributes, as many as a layer may have.
const MAX_NAMES: usize = 128 << 20;

/// Seconds before it was received within which a file may have changed again without its time telling.
const RACY: i64 = 2;
/// Bytes of a file that no context needs any more, beyond as many as one does.
const MAX_WASTE: u64 = 64 << 20;

/// Takes files in and becomes a [`Context`].
pub struct Gather {
    spool: Arc<Spool>,
    base: Option<Arc<Context>>,
    entries: BTreeMap<String, Item>,
    names: usize,
    began: i64,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}

/// Where the content of a file goes.
#[derive(Debug, Clone)]
pub struct Place {
    path: String,
    at: u64,
    size: u64,
    written: u64,
}

impl Gather {
    /// Nothing yet; content goes to a file in `scratch` that has no name.
    pub fn new(scratch: &Path) -> Result<Self> {
        Ok(Self::on(Arc::new(Spool::new(spool(scratch)?, 0)), None))
    }

    /// The same after an earlier context of the same directory: files that [`Context::has`] need not come again.
    pub fn after(base: Arc<Context>) -> Self {
        Self::on(Arc::clone(&base.spool), Some(base))
    }

    fn on(spool: Arc<Spool>, base: Option<Arc<Context>>) -> Self {
        Self { spool, base, entries: BTreeMap::new(), names: 0, began: now() }
    }

    /// Takes a file in. What is in a directory comes after it.
    ///
    /// # Errors
    /// `Invalid` for a name that leads out, or below something that is no directory, and beyond the bounds.
    pub fn add(&mut self, mut entry: Entry) -> Result<Place> {
        let name = entry.name();
        let refused = |why: &str| Error::invalid(format!("refuse the context's entry {name:?}: {why}"));
        let path = clean(&name).filter(|path| !path.is_empty() && !name.starts_with('/'));
        let path = path.ok_or_else(|| refused("it leads out"))?;
        let attributes: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.names += path.len() + entry.link.len() + attributes;
        if path.len() > MAX_NAME || entry.link.len() > MAX_NAME || self.names > MAX_NAMES {
            return Err(refused("its name is too long, or all names together are"));
        }
        if path.contains('\0') || entry.link.contains(&0) {
            return Err(refused("there is a NUL in its name"));
        }
        if let Some((parent, _)) = path.rsplit_once('/')
            && self.entries.get(parent).is_some_and(|above| above.entry.kind != Kind::Directory)
        {
            return Err(refused("it is below what is no directory"));
        }
        if self.entries.contains_key(&path) {
            return Err(refused("it comes twice"));
        }
        if entry.kind == Kind::HardLink {
            let target = clean(&String::from_utf8_lossy(&entry.link)).unwrap_or_default();
            if self.entries.get(&target).is_none_or(|first| first.entry.kind != Kind::File) {
                return Err(refused("it is another name of no earlier file"));
            }
        }
        let known =
            self.base.as_ref().filter(|base| base.has(&entry)).and_then(|base| base.entries.get(&path));
        let size = if entry.kind == Kind::File && known.is_none() { entry.size } else { 0 };
        let at = match known {
            Some(item) => item.at,
            None => self.spool.reserve(size).ok_or_else(|| refused("it is too big"))?,
        };
        let place = Place { path: path.clone(), at, size, written: 0 };
        // Whoever builds is not who owns the files in the image.
        (entry.uid, entry.gid) = (0, 0);
        self.entries.insert(path, Item { entry, at: place.at });
        Ok(place)
    }

    /// Adds to a file's content. What goes beyond the size it was said to have is left out: it grew meanwhile.
    pub fn write(&self, place: &mut Place, bytes: &[u8]) -> Result<()> {
        let room = usize::try_from(place.size - place.written).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        self.spool
            .file
            .write_all_at(bytes, place.at + place.written)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "keep the build context", e))?;
        place.written += bytes.len() as u64;
        Ok(())
    }

    /// A file's content is there; it may have become shorter meanwhile.
    pub fn close(&mut self, place: &Place) {
        if let Some(item) = self.entries.get_mut(&place.path) {
            item.entry.size = place.written;
        }
    }

    /// The context.
    pub fn finish(self) -> Context {
        let excluded = BTreeMap::new();
        Context { spool: self.spool, entries: self.entries, excluded, began: self.began }
    }
}

impl Context {
    /// Whether it has the content of a file that it is told of again: nothing of it changed since, as far as its time
    /// tells. Times in whole seconds are those of archives and tools, and may be the same for different contents.
    pub fn has(&self, entry: &Entry) -> bool {
        let Some(item) = self.entries.get(&entry.name()) else { return false };
        let same = |one: &Entry, other: &Entry| {
            (one.kind, one.size, one.mtime, one.mode) == (other.kind, other.size, other.mtime, other.mode)
        };
        entry.kind == Kind::File
            && entry.mtime.nanos != 0
            && entry.mtime.seconds < self.began - RACY
            && same(&item.entry, entry)
    }

    /// Whether a later context may share its file: most of what is in that is still needed.
    pub fn is_lean(&self) -> bool {
        self.began != 0 && self.spool.end() / 2 <= self.bytes() + MAX_WASTE
    }

    /// Bytes that it takes of the disk.
    pub fn taken(&self) -> u64 {
        self.spool.end()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|item| item.entry.size).sum()
    }

    /// How many files it has.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Everything that COPY can see: path, entry and where its content is, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Entry, u64)> {
        self.entries.iter().map(|(path, item)| (path.as_str(), &item.entry, item.at))
    }

    /// The content of an entry of [`Self::files`].
    pub fn open(&self, entry: &Entry, at: u64) -> Result<impl std::io::Read + Send + 'static> {
        self.content(entry, at)
    }

    /// The files of an image, from a tar of them; owners are kept.
    pub fn of_image(tar: impl std::io::Read, scratch: &Path) -> Result<Self> {
        Self::read_tree(tar, spool(scratch)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn file(name: &str, size: u64) -> Entry {
        Entry { size, ..Entry::new(Kind::File, name) }
    }

    #[test]
    fn contents_come_mixed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut gather = Gather::new(scratch.path()).unwrap();
        gather.add(Entry::new(Kind::Directory, "d")).unwrap();
        let mut one = gather.add(file("d/one", 6)).unwrap();
        let mut two = gather.add(file("d/two", 4)).unwrap();
        gather.write(&mut one, b"abc").unwrap();
        gather.write(&mut two, b"xy").unwrap();
        // It grew meanwhile, and the other shrank.
        gather.write(&mut one, b"defghi").unwrap();
        gather.close(&one);
        gather.close(&two);
        let context = gather.finish();
        let read = |entry: &Entry, at| {
            let mut text = String::new();
            context.open(entry, at).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let all: Vec<(&str, String)> = context.files().map(|(p, e, at)| (p, read(e, at))).collect();
        let expected = [("d", ""), ("d/one", "abcdef"), ("d/two", "xy")];
        assert_eq!(all, expected.map(|(p, c)| (p, c.to_owned())));
    }

    #[test]
    fn attributes_count_as_names_do() {
        let scratch = tempfile::tempdir().unwrap();
        let mut gather = Gather::new(scratch.path()).unwrap();
        let with = |name: &str, bytes| {
            let xattrs = [(b"user.x".to_vec(), vec![0; bytes])].into_iter().collect();
            Entry { xattrs, ..Entry::new(Kind::Directory, name) }
        };
        gather.add(with("small", 10)).unwrap();
        assert!(gather.add(with("big", MAX_NAMES)).is_err());
    }

    #[test]
    fn a_link_is_its_content_under_its_own_name() {
        let scratch = tempfile::tempdir().unwrap();
        let mut gather = Gather::new(scratch.path()).unwrap();
        gather.add(file("a", 0)).unwrap();
        gather.add(Entry { link: b"a".to_vec(), ..Entry::new(Kind::Symlink, "link") }).unwrap();
        gather.add(Entry { link: b"none".to_vec(), ..Entry::new(Kind::Symlink, "lost") }).unwrap();
        let context = gather.finish();
        for (source, name, kind) in
            [("link", "link", Kind::File), ("lin*", "link", Kind::File), ("los*", "lost", Kind::Symlink)]
        {
            let found = context.select(source, &[]).unwrap();
            let (entry, _) = &found[0].entries[0];
            assert_eq!((entry.name().as_str(), entry.kind), (name, kind), "{source}");
        }
        assert!(context.select("lost", &[]).is_err());
    }

    #[test]
    fn what_did_not_change_need_not_come_again() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str, seconds, nanos| {
            let mtime = wharf_oci::tar::Timestamp { seconds, nanos };
            Entry { mtime, ..file(name, 3) }
        };
        let mut gather = Gather::new(scratch.path()).unwrap();
        for entry in [at("same", 5, 1), at("new", 5, 1), at("whole", 5, 0), at("now", now(), 1)] {
            let mut place = gather.add(entry).unwrap();
            gather.write(&mut place, b"old").unwrap();
            gather.close(&place);
        }
        let base = Arc::new(gather.finish());
        assert!(base.has(&at("same", 5, 1)) && base.is_lean());
        let changed = [at("new", 6, 1), at("whole", 5, 0), at("now", now(), 1), at("other", 5, 1)];
        assert!(changed.iter().all(|entry| !base.has(entry)));
        let mut gather = Gather::after(Arc::clone(&base));
        gather.add(at("same", 5, 1)).unwrap();
        let mut place = gather.add(at("new", 6, 1)).unwrap();
        gather.write(&mut place, b"NEW").unwrap();
        gather.close(&place);
        let read = |context: &Context| {
            let content = |(path, entry, at): (&str, &Entry, u64)| {
                let mut text = String::new();
                context.open(entry, at).unwrap().read_to_string(&mut text).unwrap();
                format!("{path}={text}")
            };
            context.files().map(content).collect::<Vec<_>>().join(" ")
        };
        let context = gather.finish();
        assert_eq!(read(&context), "new=NEW same=old");
        assert_eq!(read(&base), "new=old now=old same=old whole=old");
        let (_, entry, at) = context.files().next().unwrap();
        assert_eq!(context.digest(entry, at).unwrap(), wharf_oci::digest::Digest::sha256(b"NEW"));
        assert_eq!(context.digest(entry, at).unwrap(), wharf_oci::digest::Digest::sha256(b"NEW"));
    }

    #[test]
    fn hostile_names_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let mut gather = Gather::new(scratch.path()).unwrap();
        gather.add(Entry { link: b"/etc".to_vec(), ..Entry::new(Kind::Symlink, "link") }).unwrap();
        gather.add(file("plain", u64::MAX - 1)).unwrap();
        let long = "n".repeat(MAX_NAME + 1);
        for name in [
            "plain",
            "",
            ".",
            "/",
            "/etc/passwd",
            "../out",
            "a/../../out",
            "link/passwd",
            "plain/x",
            "a\0b",
            &long,
        ] {
            assert!(gather.add(file(name, 0)).is_err(), "{name:?}");
        }
        assert!(gather.add(file("big", 10)).is_err());
        for target in ["link", "nothing", "../plain", ""] {
            let link = Entry { link: target.into(), ..Entry::new(Kind::HardLink, "other") };
            assert!(gather.add(link).is_err(), "{target:?}");
        }
        gather.add(Entry { link: b"plain".to_vec(), ..Entry::new(Kind::HardLink, "other") }).unwrap();
    }
}
