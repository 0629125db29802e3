//! COPY, ADD and WORKDIR.

use super::mode::{self, Mode};
use super::sources::Chosen;
use super::state::State;
use super::{Build, blocking};
use crate::context::{Selection, write_entries};
use crate::dockerfile::{Heredoc, Transfer};
use crate::{Context, pattern};
use flate2::bufread::MultiGzDecoder;
use ring::digest::{SHA256, digest};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wharf_model::snapshots::{Snapshots, Tree, WriteOptions};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Compression;
use wharf_oci::tar::{Entry, Kind, Reader, Writer};

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

/// What a part of a context is called where it is put by itself.
pub(super) const TREE: &str = "tree";

pub(super) fn failed(doing: &str) -> impl Fn(std::io::Error) -> Error {
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
        let (options, changes) = self.attributes(state, transfer).await?;
        let mut chosen: Vec<Chosen> = Vec::new();
        for source in &transfer.sources {
            let source = self.expand(state, source)?;
            chosen.extend(self.choose(transfer, &source, (name, &target), stage).await?);
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

    /// Owner and bits of what is copied, and changes of the bits it has.
    async fn attributes(
        &mut self,
        state: &State,
        transfer: &Transfer,
    ) -> Result<(WriteOptions, Option<Mode>)> {
        let owner = match &transfer.chown {
            Some(text) => {
                let text = self.expand(state, text)?;
                Some(self.owner(state, &text).await?)
            }
            None => None,
        };
        let mode = match &transfer.chmod {
            Some(text) => Some(mode::parse(&self.expand(state, text)?).map_err(Error::invalid)?),
            None => None,
        };
        Ok(match mode {
            Some(Mode::Bits(bits)) => (WriteOptions { owner, mode: Some(bits), keep_kinds: false }, None),
            changes => (WriteOptions { owner, mode: None, keep_kinds: false }, changes),
        })
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

/// How many names a path has.
pub(super) fn depth(path: &str) -> usize {
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
                all.push_str(&line(entry, &context.digest(entry, *at)?));
            }
            Content::Entries(context, entries) => {
                for (entry, at) in entries {
                    let content = match entry.kind {
                        Kind::File => context.digest(entry, *at)?,
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
