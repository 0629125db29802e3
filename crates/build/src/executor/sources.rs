//! Where COPY and ADD take files from: the context, stages and images, the web, repositories.

use super::copy::{absolute, depth, failed};
use super::{Build, NamedContext, blocking};
use crate::context::{Selection, spool};
use crate::dockerfile::Transfer;
use crate::remote::{Remote, keep};
use crate::{Context, pattern};
use ring::digest::SHA256;
use std::path::Path;
use std::sync::Arc;
use wharf_git::Address;
use wharf_model::snapshots::{Snapshots, Tree};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest};

/// Links that may follow each other to a source of another stage.
const MAX_LINKS: usize = 40;

/// One source of a COPY or ADD.
pub(super) struct Chosen {
    pub(super) context: Arc<Context>,
    pub(super) selection: Selection,
    /// Archives are unpacked.
    pub(super) unpack: bool,
}

/// Files, what is meant of them, and the directory they are a part of.
type Place = (Arc<Context>, String, String);

fn is_address(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

impl Build<'_> {
    /// Finds what one source of an instruction means.
    pub(super) async fn choose(
        &mut self,
        transfer: &Transfer,
        source: &str,
        (name, target): (&str, &str),
        stage: usize,
    ) -> Result<Vec<Chosen>> {
        if transfer.keep_git {
            return Err(Error::unsupported("ADD --keep-git-dir: only the files of a commit are fetched"));
        }
        // What is fetched stays as it is; archives of the context are unpacked.
        let is_address = name == "ADD" && (is_address(source) || Address::is_one(source));
        let unpack = transfer.unpack.unwrap_or(name == "ADD" && !is_address);
        // From `/./` on, if it says so.
        let without = source.split_once("/./").map_or(0, |(before, _)| depth(before));
        let (context, source, base) = match &transfer.from {
            None if is_address => self.fetched(transfer, source, target).await?,
            None => (Arc::clone(&self.context), source.to_owned(), String::new()),
            Some(from) => match self.directory(from)? {
                Some(context) => (context, source.to_owned(), String::new()),
                None => {
                    let chain = self.source_tree(from, stage).await?;
                    self.tree_context(chain, source).await?
                }
            },
        };
        let (files, exclude, parents) = (Arc::clone(&context), transfer.exclude.clone(), transfer.parents);
        let selected = blocking(move || match parents {
            true => files.select_with_parents((&base, without), &source, &exclude),
            false => files.select(&source, &exclude),
        });
        let here = |selection| Chosen { context: Arc::clone(&context), selection, unpack };
        Ok(selected.await?.into_iter().map(here).collect())
    }

    async fn fetched(&self, transfer: &Transfer, source: &str, target: &str) -> Result<Place> {
        if Address::is_one(source) {
            return Ok((Arc::new(self.remote().tree(source).await?), String::new(), String::new()));
        }
        let (context, name) = self.fetch(source, target, transfer.checksum.as_deref()).await?;
        Ok((context, name, String::new()))
    }

    fn remote(&self) -> Remote<'_> {
        Remote {
            client: self.builder.images.client(),
            scratch: &self.builder.scratch,
            session: self.options.session.as_ref(),
        }
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
        let mut hash = ring::digest::Context::new(&SHA256);
        let file = keep(document, url, &self.builder.scratch, |bytes| hash.update(bytes)).await?;
        let digest = Digest::from_sha256(hash.finish().as_ref());
        if let Some(wanted) = checksum.filter(|wanted| *wanted != digest.to_string()) {
            return Err(Error::invalid(format!("digest mismatch for {url}: {digest}, expected: {wanted}")));
        }
        let context = Context::of_file(&name, file, modified)?;
        // A name may look like a pattern; it is none.
        Ok((Arc::new(context), pattern::escape(&name)))
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
            let (asked, rest) = fixed_part(&source);
            let top = resolve_link(&*snapshots, &chain, &asked)?;
            // Under the name that was asked for, not that of what a link leads to.
            let (base, name) = asked.rsplit_once('/').unwrap_or_default();
            let (base, name) = if top == "/" { ("", "") } else { (base, name) };
            let called = Some(name).filter(|name| !name.is_empty());
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
                let reading = scope.spawn(move || {
                    snapshots.read_tar(Tree::Layer(chain), Path::new(top), called, &mut input)
                });
                (Context::read_tree(output, spool), reading.join())
            });
            read.map_err(|_| Error::internal("reading a stage's files broke off"))?.map_err(missing)?;
            Ok((Arc::new(context?), format!("{name}/{rest}"), base.to_owned()))
        })
        .await
    }
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

/// The path itself, or what it leads to if it is a link.
pub(super) fn resolved(snapshots: &dyn Snapshots, chain: &ChainId, path: &str) -> Result<String> {
    let path = resolve_link(snapshots, chain, path)?;
    match snapshots.stat(Tree::Layer(chain), Path::new(&path), true)? {
        Some(_) => Ok(path),
        None => Err(Error::not_found(format!("failed to compute cache key: {path}: not found"))),
    }
}
