//! The build context: the tar a client sends, kept as one file and an index of it. Nothing is unpacked, so
//! nothing in it can reach anywhere.

mod gather;
mod spool;

pub use gather::{Gather, Place};
pub(crate) use spool::spool;

use crate::ignore::Ignore;
use crate::pattern;
use flate2::bufread::MultiGzDecoder;
use ring::digest::SHA256;
use spool::Spool;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Compression;
use wharf_oci::tar::{Entry, Kind, Reader, Writer};

/// Links that may follow each other in a context.
const MAX_LINKS: usize = 40;
/// Bytes a Dockerfile or a `.dockerignore` may have.
const MAX_TEXT: u64 = 4 << 20;

/// A build context.
pub struct Context {
    spool: Arc<Spool>,
    entries: BTreeMap<String, Item>,
    /// What `.dockerignore` leaves out: seen by the build itself, which needs its Dockerfile, not by COPY.
    excluded: BTreeMap<String, Item>,
    /// When its files began to come, seconds since 1970; 0 when no later context may trust it.
    began: i64,
}

struct Item {
    entry: Entry,
    /// Where its content is in the file.
    at: u64,
}

/// A file tree to copy from: names below a root, each with its header and content.
pub(crate) struct Selection {
    /// Names in the target.
    pub(crate) entries: Vec<(Entry, u64)>,
    /// Whether a source was a directory, whose content is meant.
    pub(crate) is_directory: bool,
}

impl Context {
    /// Reads a context from a tar, plain, gzip or zstd, into a temporary file in `scratch` that has no name.
    pub fn receive(tar: impl Read, scratch: &Path) -> Result<Self> {
        let mut context = Self::read(tar, spool(scratch)?, true)
            .map_err(|e| Error::wrap(e.kind(), format!("read the context into {}", scratch.display()), e))?;
        context.ignore()?;
        Ok(context)
    }

    /// The files of another stage: owners are kept.
    pub(crate) fn read_tree(tar: impl Read, spool: File) -> Result<Self> {
        Self::read(tar, spool, false)
    }

    fn read(tar: impl Read, spool: File, disown: bool) -> Result<Self> {
        let failed = |e| Error::wrap(ErrorKind::Internal, "keep the build context", e);
        let mut input = BufReader::with_capacity(1 << 17, tar);
        let start = input.fill_buf().map_err(failed)?;
        let input: Box<dyn Read> = match Compression::detect(start) {
            Compression::None => Box::new(input),
            Compression::Gzip => Box::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(failed)?;
                Box::new(BufReader::with_capacity(1 << 17, decoder))
            }
        };
        let mut out = std::io::BufWriter::with_capacity(1 << 17, spool);
        let mut at = 0;
        let mut entries = BTreeMap::new();
        let mut reader = Reader::new(input);
        let unreadable = |e| Error::wrap(ErrorKind::Invalid, "read the build context", e);
        while let Some(mut entry) = reader.next_entry().map_err(unreadable)? {
            let Some(path) = clean(&entry.name()) else {
                return Err(Error::invalid(format!(
                    "refuse the context's entry {:?}: it leads out",
                    entry.name()
                )));
            };
            let written = std::io::copy(&mut reader, &mut out).map_err(failed)?;
            if entry.sparse.is_some() {
                return Err(Error::unsupported(format!(
                    "the context's file {path:?} is sparse: send it as a plain one"
                )));
            }
            // Whoever builds is not who owns the files in the image.
            if disown {
                (entry.uid, entry.gid) = (0, 0);
            }
            if !path.is_empty() {
                entries.insert(path, Item { entry, at });
            }
            at += written;
        }
        let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        Ok(Self { spool: Arc::new(Spool::new(file, at)), entries, excluded: BTreeMap::new(), began: 0 })
    }

    /// A context of one file, whose content is all of `file`.
    pub(crate) fn of_file(name: &str, file: File, modified: i64) -> Result<Self> {
        let failed = |e| Error::wrap(ErrorKind::Internal, "look at a fetched file", e);
        let mut entry = Entry::new(Kind::File, name);
        entry.size = file.metadata().map_err(failed)?.len();
        entry.mode = 0o600;
        entry.mtime.seconds = modified;
        let spool = Arc::new(Spool::new(file, entry.size));
        let entries = BTreeMap::from([(name.to_owned(), Item { entry, at: 0 })]);
        Ok(Self { spool, entries, excluded: BTreeMap::new(), began: 0 })
    }

    /// A context of only a Dockerfile.
    pub fn of_dockerfile(text: &str, scratch: &Path) -> Result<Self> {
        let mut writer = Writer::new(Vec::new());
        let failed = |e| Error::wrap(ErrorKind::Internal, "make a build context", e);
        writer.file(&Entry::new(Kind::File, "Dockerfile"), text.as_bytes()).map_err(failed)?;
        Self::receive(&writer.finish().map_err(failed)?[..], scratch)
    }

    fn ignore(&mut self) -> Result<()> {
        let Some(text) = self.text(".dockerignore")? else { return Ok(()) };
        let ignore = Ignore::parse(&text);
        let (excluded, kept) =
            std::mem::take(&mut self.entries).into_iter().partition(|(path, _)| ignore.excludes(path));
        (self.excluded, self.entries) = (excluded, kept);
        Ok(())
    }

    /// A text file; `None` when it is not there.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let found =
            self.follow(path).and_then(|path| self.entries.get(&path).or_else(|| self.excluded.get(&path)));
        let Some(item) = found else { return Ok(None) };
        if item.entry.kind != Kind::File || item.entry.size > MAX_TEXT {
            return Err(Error::invalid(format!(
                "{path} of the build context is no text file of less than {MAX_TEXT} bytes"
            )));
        }
        let mut bytes = Vec::new();
        self.content(&item.entry, item.at)?
            .read_to_end(&mut bytes)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "read the build context", e))?;
        String::from_utf8(bytes).map(Some).map_err(|e| {
            Error::wrap(ErrorKind::Invalid, format!("{path} of the build context is no UTF-8"), e)
        })
    }

    /// An entry's content.
    pub(crate) fn content(&self, entry: &Entry, at: u64) -> Result<impl Read + Send + 'static> {
        use std::os::fd::AsRawFd;
        let failed = |e| Error::wrap(ErrorKind::Internal, "read the build context", e);
        // A file of its own position on the same content.
        let mut file =
            File::open(format!("/proc/self/fd/{}", self.spool.file.as_raw_fd())).map_err(failed)?;
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        Ok(file.take(entry.size))
    }

    /// The digest of an entry's content.
    pub(crate) fn digest(&self, entry: &Entry, at: u64) -> Result<Digest> {
        self.spool.digest((at, entry.size), || {
            let mut hash = ring::digest::Context::new(&SHA256);
            let mut content = self.content(entry, at)?;
            let mut buffer = vec![0; 1 << 17];
            loop {
                let read = content.read(&mut buffer);
                match read.map_err(|e| Error::wrap(ErrorKind::Internal, "read the build context", e))? {
                    0 => return Ok(Digest::from_sha256(hash.finish().as_ref())),
                    n => hash.update(&buffer[..n]),
                }
            }
        })
    }

    /// The path a name leads to when links are followed inside the context.
    fn follow(&self, path: &str) -> Option<String> {
        let mut pending: Vec<String> = clean(path)?.split('/').rev().map(str::to_owned).collect();
        let mut current: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    current.pop();
                    continue;
                }
                _ => current.push(part),
            }
            let here = current.join("/");
            if let Some(item) = self.entries.get(&here).filter(|item| item.entry.kind == Kind::Symlink) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                current.pop();
                let target = String::from_utf8_lossy(&item.entry.link).into_owned();
                if target.starts_with('/') {
                    current.clear();
                }
                pending.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        Some(current.join("/"))
    }

    /// What a source of COPY names: for each match its entries, with names below the target.
    pub(crate) fn select(&self, source: &str, exclude: &[String]) -> Result<Vec<Selection>> {
        let outside =
            || Error::invalid(format!("COPY failed: forbidden path outside the build context: {source}"));
        let wanted = clean(source).ok_or_else(outside)?;
        let is_pattern = pattern::is_pattern(&wanted);
        let select = |path: &String| {
            // A link means what it leads to, under its own name.
            let real = self.follow(path).filter(|real| self.exists(real));
            let mut found = self.selection(real.as_ref().unwrap_or(path), exclude);
            let called = if is_pattern { path } else { &wanted };
            if let (false, [(entry, _)]) = (found.is_directory, &mut found.entries[..]) {
                entry.path = called.rsplit('/').next().unwrap_or(called).as_bytes().to_vec();
            }
            found
        };
        Ok(self.matched(source, &wanted)?.iter().map(select).collect())
    }

    /// The paths that a source means.
    fn matched(&self, source: &str, wanted: &str) -> Result<Vec<String>> {
        let outside =
            || Error::invalid(format!("COPY failed: forbidden path outside the build context: {source}"));
        let mut matched: Vec<String> = if pattern::is_pattern(wanted) {
            self.names().into_iter().filter(|path| pattern::matches(wanted, path)).collect()
        } else {
            let path = self.follow(wanted).ok_or_else(outside)?;
            vec![path].into_iter().filter(|path| self.exists(path)).collect()
        };
        // A match below another is in it already.
        matched.dedup_by(|below, above| below.starts_with(&format!("{above}/")));
        if matched.is_empty() {
            return Err(Error::not_found(format!(
                "COPY failed: file not found in build context or excluded by .dockerignore: stat {source}: file does not exist"
            )));
        }
        Ok(matched)
    }

    /// The same with the directories that sources are in: `base`, where the context is, and those in it, but for the first
    /// `without`.
    pub(crate) fn select_with_parents(
        &self,
        (base, without): (&str, usize),
        source: &str,
        exclude: &[String],
    ) -> Result<Vec<Selection>> {
        let outside =
            || Error::invalid(format!("COPY failed: forbidden path outside the build context: {source}"));
        let matched = self.matched(source, &clean(source).ok_or_else(outside)?)?;
        let whole = |path: &String| {
            let parts = base.split('/').chain(path.split('/')).filter(|part| !part.is_empty());
            parts.skip(without).collect::<Vec<_>>().join("/")
        };
        Ok(matched.iter().map(|path| self.with_parents(&whole(path), path, exclude)).collect())
    }

    fn with_parents(&self, whole: &str, path: &str, exclude: &[String]) -> Selection {
        let found = self.selection(path, exclude);
        let place = |entry: Entry| match found.is_directory {
            true => {
                let name = [whole.as_bytes(), b"/", &entry.path[..]].concat();
                let link = match entry.kind {
                    Kind::HardLink => [whole.as_bytes(), b"/", &entry.link[..]].concat(),
                    _ => entry.link.clone(),
                };
                Entry { path: name, link, ..entry }
            }
            false => Entry { path: whole.as_bytes().to_vec(), ..entry },
        };
        let itself = self.entries.get(path).filter(|_| found.is_directory);
        let itself =
            itself.map(|item| (Entry { path: whole.as_bytes().to_vec(), ..item.entry.clone() }, item.at));
        let below = found.entries.iter().map(|(entry, at)| (place(entry.clone()), *at));
        Selection { entries: itself.into_iter().chain(below).collect(), is_directory: true }
    }

    fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.entries.contains_key(path) || self.below(path).next().is_some()
    }

    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Item)> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let from = prefix.clone();
        let range = self.entries.range(from..).take_while(move |(name, _)| name.starts_with(&prefix));
        let skip = if path.is_empty() { 0 } else { path.len() + 1 };
        range.map(move |(name, item)| (&name[skip..], item))
    }

    /// Every path, directories that no entry names too.
    fn names(&self) -> Vec<String> {
        let mut names = std::collections::BTreeSet::new();
        for path in self.entries.keys() {
            let ends = path.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at);
            names.extend(ends.chain([path.len()]).map(|end| path[..end].to_owned()));
        }
        names.into_iter().collect()
    }

    fn selection(&self, path: &str, exclude: &[String]) -> Selection {
        let excluded = |name: &str| exclude.iter().any(|rule| Ignore::parse(rule).excludes(name));
        match self.entries.get(path) {
            Some(item) if item.entry.kind != Kind::Directory => {
                let name = path.rsplit('/').next().unwrap_or(path);
                // Another name of a file is the file, on its own.
                let item = match item.entry.kind {
                    Kind::HardLink => clean(&String::from_utf8_lossy(&item.entry.link))
                        .and_then(|target| self.entries.get(&target))
                        .unwrap_or(item),
                    _ => item,
                };
                let entry = Entry { path: name.as_bytes().to_vec(), ..item.entry.clone() };
                Selection { entries: vec![(entry, item.at)], is_directory: false }
            }
            _ => {
                let inside = |link: &[u8]| {
                    let target = clean(&String::from_utf8_lossy(link))?;
                    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
                    target.strip_prefix(&prefix).map(str::to_owned)
                };
                let mut entries = Vec::new();
                for (name, item) in self.below(path).filter(|(name, _)| !excluded(name)) {
                    let mut entry = Entry { path: name.as_bytes().to_vec(), ..item.entry.clone() };
                    let mut at = item.at;
                    if entry.kind == Kind::HardLink {
                        let target =
                            clean(&String::from_utf8_lossy(&entry.link)).and_then(|t| self.entries.get(&t));
                        match inside(&entry.link) {
                            // Its first name comes along, and earlier or later as sorted: a copy is the same file.
                            Some(first) if first.as_bytes() < name.as_bytes() && !excluded(&first) => {
                                entry.link = first.into_bytes();
                            }
                            _ => {
                                let Some(target) = target else { continue };
                                at = target.at;
                                entry = Entry { path: entry.path, ..target.entry.clone() };
                            }
                        }
                    }
                    entries.push((entry, at));
                }
                Selection { entries, is_directory: true }
            }
        }
    }
}

/// A path without `.` and `..`; `None` when it leads above its start.
pub(crate) fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Writes entries with their content to a tar.
pub(crate) fn write_entries<W: Write>(
    writer: &mut Writer<W>,
    context: &Context,
    entries: impl IntoIterator<Item = (Entry, u64)>,
) -> Result<()> {
    let failed = |e| Error::wrap(ErrorKind::Internal, "archive a part of the build context", e);
    for (entry, at) in entries {
        writer.header(&entry).map_err(failed)?;
        if entry.kind == Kind::File {
            writer.content(entry.size, &mut context.content(&entry, at)?).map_err(failed)?;
        }
    }
    Ok(())
}
