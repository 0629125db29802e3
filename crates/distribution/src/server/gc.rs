//! Collection of what nothing names, while the registry serves.
//!
//! First, in each repository and with its writers kept out: tags that no retention rule keeps, manifests without a
//! tag that are old enough, and the entries of blobs that no manifest names and nobody asked for lately. Then the
//! content that no repository has an entry of, and nobody is at work with.
//!
//! A manifest that cannot be read may name anything of its repository. So nothing goes there but tags, until somebody
//! deletes it or pushes it again; other repositories are collected as ever.

use super::entries::Folder;
use super::retention;
use super::settings::Settings;
use super::store::Store;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use wharf_model::Result;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Document;

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// `repository:tag`.
    pub tags: Vec<String>,
    /// `repository@digest`.
    pub manifests: Vec<String>,
    /// Blobs taken out of a repository.
    pub unlinked: usize,
    /// Content removed.
    pub blobs: Vec<Digest>,
    /// Its bytes.
    pub bytes: u64,
    /// `repository@digest` of what cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Bytes and blobs that stay.
    pub kept: (u64, u64),
}

/// A digest in 16 bytes: a million of them are to fit into memory. Two that are taken for one keep garbage, no more.
fn mark(digest: &str) -> Option<u128> {
    u128::from_str_radix(digest.split_once(':')?.1.get(..32)?, 16).ok()
}

/// Collects; with `dry_run` only tells what would be collected.
pub(super) fn collect(store: &Store, settings: &Settings, dry_run: bool) -> Result<Collected> {
    let mut collected = Collected::default();
    store.holds.begin();
    let result = sweep(store, settings, dry_run, &mut collected);
    store.holds.end();
    result.map(|()| collected)
}

fn sweep(store: &Store, settings: &Settings, dry_run: bool, collected: &mut Collected) -> Result<()> {
    let mut marks = HashSet::new();
    store.entries.repositories(&mut |repository| {
        repository_sweep(store, settings, dry_run, repository, &mut marks, collected)
    })?;
    for (digest, size) in store.blobs.list()? {
        let marked = mark(digest.as_str()).is_some_and(|m| marks.contains(&m));
        let removed = !marked
            && match dry_run {
                true => true,
                false => store.holds.unless_held(&digest, || store.blobs.remove(&digest))?,
            };
        if removed {
            collected.bytes += size;
            collected.blobs.push(digest);
        } else {
            collected.kept.0 += size;
            collected.kept.1 += 1;
        }
    }
    Ok(())
}

/// A repository's manifest and what it names.
struct Node {
    names: Vec<Digest>,
    subject: Option<Digest>,
    old: bool,
}

fn repository_sweep(
    store: &Store,
    settings: &Settings,
    dry_run: bool,
    repository: &str,
    marks: &mut HashSet<u128>,
    collected: &mut Collected,
) -> Result<()> {
    let _writing = store.writing(repository);
    let entries = &store.entries;
    let gone_tags = retention::superfluous(store, settings, repository)?;
    for tag in &gone_tags {
        if !dry_run {
            entries.remove(Folder::Tags(repository), tag)?;
        }
        collected.tags.push(format!("{repository}:{tag}"));
    }
    let mut tagged = HashSet::new();
    entries.each(Folder::Tags(repository), &mut |tag| {
        if let Some(digest) = entries.get(Folder::Tags(repository), tag)?
            && !gone_tags.iter().any(|t| t == tag)
        {
            tagged.insert(digest);
        }
        Ok(())
    })?;
    let (nodes, unreadable) = nodes(store, settings, repository)?;
    let is_whole = unreadable.is_empty();
    for (digest, why) in unreadable {
        tracing::error!(repository, %digest, why, "a manifest cannot be read: its repository is not collected");
        marks.extend(mark(digest.as_str()));
        collected.unreadable.push((format!("{repository}@{digest}"), why));
    }
    let kept = reachable(&nodes, &tagged, settings.gc.untagged.is_some());
    let mut named = HashSet::new();
    for (digest, node) in &nodes {
        if !is_whole || kept.contains(digest.as_str()) {
            named.extend(node.names.iter().map(Digest::as_str));
            marks.extend(mark(digest.as_str()));
        } else {
            if !dry_run {
                store.remove_manifest(repository, digest)?;
            }
            collected.manifests.push(format!("{repository}@{digest}"));
        }
    }
    let grace = settings.gc.grace.0;
    entries.each(Folder::Blobs(repository), &mut |name| {
        let age = entries.age(Folder::Blobs(repository), name)?.unwrap_or(Duration::ZERO);
        if !is_whole || named.contains(name) || age < grace {
            marks.extend(mark(name));
            return Ok(());
        }
        collected.unlinked += 1;
        if !dry_run {
            entries.remove(Folder::Blobs(repository), name)?;
        }
        Ok(())
    })?;
    if !dry_run {
        store.cache.forget(repository);
        store.usage.forget(repository);
        store.leave_if_empty(repository)?;
        entries.tidy(repository)?;
    }
    Ok(())
}

type Nodes = HashMap<Digest, Node>;
type Unreadable = Vec<(Digest, String)>;

/// The manifests of a repository, and those that cannot be read.
fn nodes(store: &Store, settings: &Settings, repository: &str) -> Result<(Nodes, Unreadable)> {
    let (mut nodes, mut unreadable) = (HashMap::new(), Vec::new());
    let folder = Folder::Manifests(repository);
    store.entries.each(folder, &mut |name| {
        let Ok(digest) = name.parse::<Digest>() else { return Ok(()) };
        let media_type = store.entries.get(folder, name)?;
        let document = store.content(&digest).map_err(|e| e.full()).and_then(|body| {
            Document::parse(&body, media_type.as_deref()).map_err(|e| format!("it is no manifest: {e}"))
        });
        let document = match document {
            Ok(document) => document,
            Err(why) => {
                unreadable.push((digest, why));
                return Ok(());
            }
        };
        let names = match &document {
            Document::Manifest(m) => {
                std::iter::once(&m.config).chain(&m.layers).map(|d| d.digest.clone()).collect()
            }
            Document::Index(i) => i.manifests.iter().map(|d| d.digest.clone()).collect(),
        };
        let age = store.entries.age(folder, name)?.unwrap_or(Duration::ZERO);
        let old = settings.gc.untagged.is_some_and(|span| age >= span.0);
        let subject = document.subject().map(|s| s.digest.clone());
        nodes.insert(digest, Node { names, subject, old });
        Ok(())
    })?;
    Ok((nodes, unreadable))
}

/// The manifests that stay: tagged or young ones, what they name, and what is about one that stays.
fn reachable<'a>(
    nodes: &'a HashMap<Digest, Node>,
    tagged: &HashSet<String>,
    collecting: bool,
) -> HashSet<&'a str> {
    let stays = |digest: &Digest, node: &Node| !collecting || !node.old || tagged.contains(digest.as_str());
    let mut pending: Vec<&Digest> = nodes.iter().filter(|(d, n)| stays(d, n)).map(|(d, _)| d).collect();
    let mut about: HashMap<&Digest, Vec<&Digest>> = HashMap::new();
    for (digest, node) in nodes {
        if let Some(subject) = &node.subject {
            about.entry(subject).or_default().push(digest);
        }
    }
    let mut kept = HashSet::new();
    while let Some(digest) = pending.pop() {
        let Some((digest, node)) = nodes.get_key_value(digest) else { continue };
        if kept.insert(digest.as_str()) {
            pending.extend(&node.names);
            pending.extend(about.get(digest).into_iter().flatten().copied());
        }
    }
    kept
}
