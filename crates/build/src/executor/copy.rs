//! COPY, ADD and WORKDIR.

use super::mode::{self, Mode};
use super::state::State;
use super::{Build, NamedContext, blocking};
use crate::context::{Selection, spool, write_entries};
use crate::dockerfile::{Heredoc, Transfer};
use crate::{Context, pattern};
use flate2::bufread::MultiGzDecoder;
use futures_util::StreamExt;
use ring::digest::{SHA256, digest};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wharf_model::snapshots::{Snapshots, Tree, WriteOptions};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest};
use wharf_oci::manifest::Compression;
use wharf_oci::tar::{Entry, Kind, Reader, Writer};

/// Links that may follow each other to a source of another stage.
const MAX_LINKS: usize = 40;

/// One tar to be put into the new layer.
struct Part {
    /// The directory it goes to.
    at: PathBuf,
    content: Content,
    options: WriteOptions,
}

impl Part {
    fn change_modes(&mut self, changes: &Mode) {
        let change = |entry: &mut Entry| {
            if !matches!(entry.kind, Kind::Symlink | Kind::HardLink) {
                entry.mode = changes.of(entry.mode, entry.kind == Kind::Directory);
            }
        };
        match &mut self.content {
            Content::Entries(_, entries) => entries.iter_mut().for_each(|(entry, _)| change(entry)),
            Content::Text(entry, _) => change(entry),
            // An archive has its own.
            Content::Archive(..) => {}
        }
    }
}

enum Content {
    /// Entries of a context.
    Entries(Arc<Context>, Vec<(Entry, u64)>),
    /// A file written in the Dockerfile.
    Text(Entry, Vec<u8>),
    /// An archive in a context, unpacked.
    Archive(Arc<Context>, Box<Entry>, u64),
}

/// One source of a COPY or ADD.
struct Chosen {
    context: Arc<Context>,
    selection: Selection,
    /// Archives are unpacked.
    unpack: bool,
}

/// What a part of a context is called where it is put by itself.
pub(super) const TREE: &str = "tree";

fn is_address(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

fn is_repository(source: &str) -> bool {
    let path = source.split('#').next().unwrap_or_default();
    source.starts_with("git@")
        || source.starts_with("git://")
        || (is_address(source) && path.ends_with(".git"))
}

fn failed(doing: &str) -> impl Fn(std::io::Error) -> Error {
    let doing = doing.to_owned();
    move |e| Error::wrap(ErrorKind::Internal, doing.clone(), e)
}

impl Build<'_> {
    pub(super) async fn workdir(&mut self, state: &mut State, path: &str) -> Result<()> {
        let path = absolute(&state.config.config.working_dir, &self.expand(state, path)?);
        state.config.config.working_dir.clone_from(&path);
        let created_by = format!("/bin/sh -c #(nop) WORKDIR {path}");
        if self.use_cached(state, &created_by, "")? {
            return Ok(());
        }
        let (snapshots, chain, wanted) =
            (Arc::clone(&self.builder.snapshots), state.chain(), PathBuf::from(&path));
        let there = blocking(move || match &chain {
            Some(chain) => {
                Ok(snapshots.stat(Tree::Layer(chain), &wanted, true)?.is_some_and(|s| s.is_directory()))
            }
            None => Ok(wanted == Path::new("/")),
        });
        let layer = if there.await? {
            None
        } else {
            let working = self.working(state).await?;
            let (snapshots, key, path) =
                (Arc::clone(&self.builder.snapshots), working.key.clone(), path.clone());
            blocking(move || {
                let empty = Writer::new(Vec::new()).finish();
                let empty = empty.map_err(|e| Error::wrap(ErrorKind::Internal, "make an archive", e))?;
                snapshots.write_tar(&key, Path::new(&path), &mut &empty[..], WriteOptions::default())
            })
            .await?;
            let layer = self.builder.images.commit_snapshot(&working.key).await?;
            working.committed();
            Some(layer)
        };
        self.finish_step(state, &created_by, "", layer).await
    }

    pub(super) async fn copy_step(
        &mut self,
        state: &mut State,
        transfer: &Transfer,
        name: &str,
        stage: usize,
    ) -> Result<()> {
        let target = self.expand(state, &transfer.target)?;
        let owner = match &transfer.chown {
            Some(text) => {
                let text = self.expand(state, text)?;
                Some(self.owner(state, &text).await?)
            }
            None => None,
        };
        let mode = match &transfer.chmod {
            Some(text) => {
                let text = self.expand(state, text)?;
                Some(mode::parse(&text).map_err(Error::invalid)?)
            }
            None => None,
        };
        let bits = match mode {
            Some(Mode::Bits(bits)) => Some(bits),
            _ => None,
        };
        let options = WriteOptions { owner, mode: bits, keep_kinds: false };
        let changes = mode.filter(|mode| matches!(mode, Mode::Changes(_)));
        let mut chosen: Vec<Chosen> = Vec::new();
        for source in &transfer.sources {
            let source = self.expand(state, source)?;
            // From `/./` on, if it says so.
            let without = source.split_once("/./").map_or(0, |(before, _)| depth(before));
            if name == "ADD" && is_repository(&source) {
                return Err(Error::unsupported(format!(
                    "ADD does not clone {source}: clone it in a RUN step"
                )));
            }
            // What is fetched stays as it is; archives of the context are unpacked.
            let is_address = name == "ADD" && is_address(&source);
            let unpack = transfer.unpack.unwrap_or(name == "ADD" && !is_address);
            let here = |(context, source)| (context, source, String::new());
            let (context, source, base) = match &transfer.from {
                None if is_address => here(self.fetch(&source, &target, transfer.checksum.as_deref()).await?),
                None => here((Arc::clone(&self.context), source)),
                Some(from) => match self.directory(from)? {
                    Some(context) => here((context, source)),
                    None => {
                        let chain = self.source_tree(from, stage).await?;
                        self.tree_context(chain, &source).await?
                    }
                },
            };
            let exclude = transfer.exclude.clone();
            let parents = transfer.parents.then_some((base, without));
            let selected = {
                let context = Arc::clone(&context);
                blocking(move || match parents {
                    Some((base, without)) => context.select_with_parents((&base, without), &source, &exclude),
                    None => context.select(&source, &exclude),
                })
                .await?
            };
            let chosen_here = |selection| Chosen { context: Arc::clone(&context), selection, unpack };
            chosen.extend(selected.into_iter().map(chosen_here));
        }
        let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
        for heredoc in &transfer.heredocs {
            texts.push((heredoc.name.clone(), self.document(state, heredoc)?.into_bytes()));
        }
        let to_directory =
            target.ends_with('/') || matches!(target.as_str(), "." | "..") || target.ends_with("/.");
        if chosen.len() + texts.len() > 1 && !to_directory && !chosen.iter().all(|c| c.selection.is_directory)
        {
            return Err(Error::invalid(format!(
                "When using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let path = absolute(&state.config.config.working_dir, &target);
        let into_directory = to_directory || transfer.parents || self.is_directory(state, &path).await?;
        let mut parts: Vec<Part> = Vec::new();
        for Chosen { context, selection, unpack } in chosen {
            parts.extend(plan(unpack, &context, selection, &path, into_directory, options)?);
        }
        for (file, content) in texts {
            let (at, file) = place(&path, &file, into_directory);
            parts.push(Part { at, content: Content::Text(Entry::new(Kind::File, file), content), options });
        }
        if let Some(changes) = &changes {
            parts.iter_mut().for_each(|part| part.change_modes(changes));
        }
        let hashed = blocking(move || {
            let content = hash(&parts)?;
            Ok((parts, content))
        });
        let (parts, content) = hashed.await?;
        let created_by = format!("/bin/sh -c #(nop) {name} multi:{} in {target} ", &content[..32]);
        if self.use_cached(state, &created_by, &content)? {
            return Ok(());
        }
        let working = self.working(state).await?;
        let (snapshots, key) = (Arc::clone(&self.builder.snapshots), working.key.clone());
        blocking(move || parts.iter().try_for_each(|part| put(&*snapshots, &key, part))).await?;
        let layer = self.builder.images.commit_snapshot(&working.key).await?;
        working.committed();
        self.finish_step(state, &created_by, &content, Some(layer)).await
    }

    /// A document of the web as a context of one file, and what it is called there.
    async fn fetch(&self, url: &str, target: &str, checksum: Option<&str>) -> Result<(Arc<Context>, String)> {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let path = path.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, p)| p);
        let name = match path.rsplit('/').next().unwrap_or_default() {
            "" | "." | ".." if target.ends_with('/') => {
                return Err(Error::invalid(format!(
                    "cannot determine a file name from {url}: name the file in the destination"
                )));
            }
            // Its name in the image is the destination's.
            "" | "." | ".." => "document".to_owned(),
            name => name.to_owned(),
        };
        let document = self.builder.images.client().fetch(url).await?;
        let modified = document.modified.unwrap_or_default();
        let scratch = self.builder.scratch.clone();
        let mut file = blocking(move || spool(&scratch)).await?;
        let mut hash = ring::digest::Context::new(&SHA256);
        let mut stream = std::pin::pin!(document.into_stream());
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(failed(&format!("fetch {url}")))?;
            hash.update(&bytes);
            file = blocking(move || {
                file.write_all(&bytes).map(|()| file).map_err(failed("keep what was fetched"))
            })
            .await?;
        }
        let digest = Digest::from_sha256(hash.finish().as_ref());
        if let Some(wanted) = checksum.filter(|wanted| *wanted != digest.to_string()) {
            return Err(Error::invalid(format!("digest mismatch for {url}: {digest}, expected: {wanted}")));
        }
        let context = Context::of_file(&name, file, modified)?;
        // A name may look like a pattern; it is none.
        Ok((Arc::new(context), pattern::escape(&name)))
    }

    fn document(&self, state: &State, heredoc: &Heredoc) -> Result<String> {
        if !heredoc.expand {
            return Ok(heredoc.content.clone());
        }
        // Quotes in a document are text: only variables mean something.
        let quoted = heredoc.content.replace('"', "\\\"");
        crate::dockerfile::expand_word(&format!("\"{quoted}\""), '\\', &|name| state.variable(name))
            .map_err(Error::invalid)
    }

    async fn is_directory(&self, state: &State, path: &str) -> Result<bool> {
        let (snapshots, chain, path) =
            (Arc::clone(&self.builder.snapshots), state.chain(), PathBuf::from(path));
        blocking(move || match &chain {
            Some(chain) => {
                Ok(snapshots.stat(Tree::Layer(chain), &path, true)?.is_some_and(|s| s.is_directory()))
            }
            None => Ok(path == Path::new("/")),
        })
        .await
    }

    /// The files of a stage or an image.
    async fn source_tree(&mut self, from: &str, stage: usize) -> Result<ChainId> {
        let name =
            crate::dockerfile::expand_word(from, self.file.escape, &|name| self.globals.get(name).cloned())
                .map_err(Error::invalid)?;
        let chain = self.image_of(&name, stage).await?.and_then(|image| image.chain());
        chain.ok_or_else(|| Error::not_found(format!("COPY --from={name}: there are no files in it")))
    }

    /// The files that a named context is, if it is any.
    fn directory(&self, from: &str) -> Result<Option<Arc<Context>>> {
        let name = self.expand_global(from)?;
        Ok(match self.named_context(&name) {
            Some(NamedContext::Directory(context)) => Some(Arc::clone(context)),
            _ => None,
        })
    }

    /// A part of a tree as a context, what the source is called in it, and the directory it is the part of.
    async fn tree_context(&self, chain: ChainId, source: &str) -> Result<(Arc<Context>, String, String)> {
        let (snapshots, scratch) = (Arc::clone(&self.builder.snapshots), self.builder.scratch.clone());
        let source = absolute("/", source);
        blocking(move || {
            let (top, rest) = fixed_part(&source);
            let top = resolve_link(&*snapshots, &chain, &top)?;
            let missing = |e: Error| match e.kind() {
                ErrorKind::NotFound => {
                    Error::not_found(format!("COPY failed: stat {source}: file does not exist"))
                }
                _ => e,
            };
            let spool = spool(&scratch)?;
            let (output, mut input) = std::io::pipe().map_err(failed("make a pipe"))?;
            let (context, read) = std::thread::scope(|scope| {
                let (snapshots, chain, top) = (&snapshots, &chain, &top);
                let reading = scope
                    .spawn(move || snapshots.read_tar(Tree::Layer(chain), Path::new(top), None, &mut input));
                (Context::read_tree(output, spool), reading.join())
            });
            read.map_err(|_| Error::internal("reading a stage's files broke off"))?.map_err(missing)?;
            let (base, name) = top.rsplit_once('/').unwrap_or_default();
            Ok((Arc::new(context?), format!("{name}/{rest}"), base.to_owned()))
        })
        .await
    }
}

/// The path itself, or what it leads to if it is a link.
pub(super) fn resolved(snapshots: &dyn Snapshots, chain: &ChainId, path: &str) -> Result<String> {
    let path = resolve_link(snapshots, chain, path)?;
    match snapshots.stat(Tree::Layer(chain), Path::new(&path), true)? {
        Some(_) => Ok(path),
        None => Err(Error::not_found(format!("failed to compute cache key: {path}: not found"))),
    }
}

/// What is at a path of a context, which is no pattern.
fn part_of(context: &Arc<Context>, path: &str) -> Result<(Part, &'static str)> {
    let selected = context.select(&pattern::escape(path), &[])?.pop();
    let Selection { mut entries, is_directory } =
        selected.ok_or_else(|| Error::not_found(format!("{path}: not found")))?;
    let at = if is_directory { PathBuf::from(format!("/{TREE}")) } else { PathBuf::from("/") };
    if !is_directory {
        entries.iter_mut().for_each(|(entry, _)| TREE.as_bytes().clone_into(&mut entry.path));
    }
    let content = Content::Entries(Arc::clone(context), entries);
    Ok((Part { at, content, options: WriteOptions::default() }, TREE))
}

/// The digest of what is at a path of a context.
pub(super) fn digest_of(context: &Arc<Context>, path: &str) -> Result<String> {
    hash(&[part_of(context, path)?.0])
}

/// Puts all of a context into an empty snapshot, as its root.
pub(super) fn put_all(snapshots: &dyn Snapshots, key: &str, context: &Arc<Context>) -> Result<()> {
    let (part, _) = part_of(context, "")?;
    put(snapshots, key, &Part { at: PathBuf::from("/"), ..part })
}

/// Puts what is at a path of a context into an empty snapshot, and tells where it is there.
pub(super) fn put_selection(
    snapshots: &dyn Snapshots,
    key: &str,
    context: &Arc<Context>,
    path: &str,
) -> Result<PathBuf> {
    let (part, name) = part_of(context, path)?;
    put(snapshots, key, &part)?;
    Ok(PathBuf::from(name))
}

/// The part of a path before its first pattern, and the rest.
fn fixed_part(source: &str) -> (String, String) {
    let parts: Vec<&str> = source.split('/').filter(|p| !p.is_empty()).collect();
    let fixed = parts.iter().take_while(|part| !pattern::is_pattern(part)).count();
    (format!("/{}", parts[..fixed].join("/")), parts[fixed..].join("/"))
}

/// A source that is a link means what it leads to.
fn resolve_link(snapshots: &dyn Snapshots, chain: &ChainId, path: &str) -> Result<String> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let stat = snapshots.stat(Tree::Layer(chain), Path::new(&path), false)?;
        let Some(link) = stat.and_then(|stat| stat.link) else { return Ok(path) };
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent).to_owned();
        path = absolute(&parent, &link.to_string_lossy());
    }
    Err(Error::invalid(format!("COPY failed: too many links on the way of {path}")))
}

/// How many names a path has.
fn depth(path: &str) -> usize {
    absolute("/", path).split('/').filter(|part| !part.is_empty()).count()
}

/// A path from a working directory, without `.` and `..`.
pub(super) fn absolute(base: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("/{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The directory and the name a single file goes to.
fn place(target: &str, name: &str, into_directory: bool) -> (PathBuf, String) {
    if into_directory {
        return (PathBuf::from(target), name.to_owned());
    }
    let (parent, name) = target.rsplit_once('/').unwrap_or(("", target));
    (PathBuf::from(format!("{parent}/")), name.to_owned())
}

fn plan(
    unpack: bool,
    context: &Arc<Context>,
    selection: Selection,
    target: &str,
    into_directory: bool,
    options: WriteOptions,
) -> Result<Vec<Part>> {
    if selection.is_directory {
        let content = Content::Entries(Arc::clone(context), selection.entries);
        return Ok(vec![Part { at: PathBuf::from(target), content, options }]);
    }
    let mut parts = Vec::new();
    for (entry, at) in selection.entries {
        if unpack && entry.kind == Kind::File && is_archive(context, &entry, at)? {
            let content = Content::Archive(Arc::clone(context), Box::new(entry), at);
            parts.push(Part { at: PathBuf::from(target), content, options });
            continue;
        }
        let (dir, name) = place(target, &entry.name(), into_directory);
        let entry = Entry { path: name.into_bytes(), ..entry };
        parts.push(Part {
            at: dir,
            content: Content::Entries(Arc::clone(context), vec![(entry, at)]),
            options,
        });
    }
    Ok(parts)
}

fn unwrapped(context: &Context, entry: &Entry, at: u64) -> Result<Box<dyn Read + Send>> {
    let mut content = BufReader::with_capacity(1 << 17, context.content(entry, at)?);
    let start = content.fill_buf().map_err(failed("read the build context"))?;
    if start.starts_with(b"\xfd7zXZ\0") || start.starts_with(b"BZh") {
        return Err(Error::unsupported(format!(
            "ADD unpacks gzip and zstd, not xz or bzip2: unpack {} in a RUN step, or COPY it",
            entry.name()
        )));
    }
    Ok(match Compression::detect(start) {
        Compression::None => Box::new(content),
        Compression::Gzip => Box::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(content))),
        Compression::Zstd => Box::new(
            zstd::stream::read::Decoder::with_buffer(content).map_err(failed("read the build context"))?,
        ),
    })
}

/// Whether a file is a tar, wrapped or not, with at least one entry.
fn is_archive(context: &Context, entry: &Entry, at: u64) -> Result<bool> {
    Ok(matches!(Reader::new(unwrapped(context, entry, at)?).next_entry(), Ok(Some(_))))
}

/// What the step takes in: everything but times, which differ between two checkouts of the same.
fn hash(parts: &[Part]) -> Result<String> {
    let mut all = String::new();
    for part in parts {
        all.push_str(&format!("{:?} {:?}\n", part.at, part.options));
        match &part.content {
            Content::Text(entry, content) => all.push_str(&line(entry, &Digest::sha256(content))),
            Content::Archive(context, entry, at) => {
                all.push_str(&line(entry, &content_digest(context, entry, *at)?));
            }
            Content::Entries(context, entries) => {
                for (entry, at) in entries {
                    let content = match entry.kind {
                        Kind::File => content_digest(context, entry, *at)?,
                        _ => Digest::sha256(&entry.link),
                    };
                    all.push_str(&line(entry, &content));
                }
            }
        }
    }
    Ok(Digest::from_sha256(digest(&SHA256, all.as_bytes()).as_ref()).hex().to_owned())
}

fn line(entry: &Entry, content: &Digest) -> String {
    let (kind, mode, uid, gid) = (entry.kind, entry.mode, entry.uid, entry.gid);
    format!(
        "{:?} {kind:?} {mode:o} {uid} {gid} {:?} {:?} {content}\n",
        entry.path, entry.device, entry.xattrs
    )
}

fn content_digest(context: &Context, entry: &Entry, at: u64) -> Result<Digest> {
    let mut hash = ring::digest::Context::new(&SHA256);
    let mut content = context.content(entry, at)?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match content.read(&mut buffer).map_err(failed("read the build context"))? {
            0 => return Ok(Digest::from_sha256(hash.finish().as_ref())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn put(snapshots: &dyn Snapshots, key: &str, part: &Part) -> Result<()> {
    let unwritten = |e| Error::wrap(ErrorKind::Internal, "archive a part of the build context", e);
    match &part.content {
        Content::Archive(context, entry, at) => {
            // An archive's own owners and modes are what it is unpacked for.
            snapshots.write_tar(key, &part.at, &mut unwrapped(context, entry, *at)?, part.options)
        }
        Content::Text(entry, content) => {
            let mut writer = Writer::new(Vec::new());
            writer.file(entry, content).map_err(unwritten)?;
            let tar = writer.finish().map_err(unwritten)?;
            snapshots.write_tar(key, &part.at, &mut &tar[..], part.options)
        }
        Content::Entries(context, entries) => {
            let (mut output, input) = std::io::pipe().map_err(failed("make a pipe"))?;
            let (written, put) = std::thread::scope(|scope| {
                let writing = scope.spawn(move || {
                    let mut writer = Writer::new(std::io::BufWriter::with_capacity(1 << 17, input));
                    write_entries(&mut writer, context, entries.iter().cloned())?;
                    writer.finish().map_err(unwritten)?.flush().map_err(failed("write to a pipe"))
                });
                let put = snapshots.write_tar(key, &part.at, &mut output, part.options);
                drop(output);
                (writing.join(), put)
            });
            put?;
            written.map_err(|_| Error::internal("copying the context broke off"))?
        }
    }
}
