//! What a snapshot changed: its upper directory against the layers below.

use super::inside;
use super::walk::{Node, walk};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wharf_model::snapshots::{ChangeKind, PathChange};

/// The changed paths, sorted. A directory that is only there because of what it holds is `Modified` when
/// something below it changed, as Docker has it.
pub(crate) fn changes(upper: &OwnedFd, lower: &[OwnedFd]) -> io::Result<Vec<PathChange>> {
    let mut found: BTreeMap<Vec<u8>, ChangeKind> = BTreeMap::new();
    walk(upper, &mut |node| {
        let below = below(lower, node)?;
        let kind = match below {
            _ if inside::is_whiteout(&node.stat) => ChangeKind::Deleted,
            None => ChangeKind::Added,
            Some(below) if node.is_directory() && same_directory(&below, &node.stat) => return Ok(()),
            Some(_) => ChangeKind::Modified,
        };
        found.insert(node.path.to_vec(), kind);
        Ok(())
    })?;
    let paths: Vec<Vec<u8>> = found.keys().cloned().collect();
    for path in paths {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            found.entry(path[..at].to_vec()).or_insert(ChangeKind::Modified);
        }
    }
    Ok(found
        .into_iter()
        .map(|(path, kind)| PathChange { kind, path: Path::new("/").join(OsStr::from_bytes(&path)) })
        .collect())
}

/// What the layers, topmost first, show at a node's path.
fn below(layers: &[OwnedFd], node: &Node<'_>) -> io::Result<Option<Stat>> {
    let parts: Vec<&[u8]> = node.path.split(|b| *b == b'/').collect();
    let Some((name, parents)) = parts.split_last() else { return Ok(None) };
    for layer in layers {
        match in_layer(layer, parents, name)? {
            Lookup::Found(stat) => return Ok(Some(stat)),
            Lookup::Hidden => return Ok(None),
            Lookup::Absent => {}
        }
    }
    Ok(None)
}

enum Lookup {
    Found(Stat),
    /// Not here, and nothing further down shows through.
    Hidden,
    Absent,
}

fn in_layer(layer: &OwnedFd, parents: &[&[u8]], name: &[u8]) -> io::Result<Lookup> {
    let mut hidden = false;
    let mut dir = inside::open(layer, b".", OFlags::PATH | OFlags::DIRECTORY)?;
    for parent in parents {
        match inside::stat(&dir, parent)? {
            None if hidden => return Ok(Lookup::Hidden),
            None => return Ok(Lookup::Absent),
            Some(stat) if inside::file_type(&stat) != FileType::Directory => return Ok(Lookup::Hidden),
            Some(_) => hidden |= inside::is_opaque(dir.as_fd(), parent)?,
        }
        dir = match inside::open(&dir, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Lookup::Absent),
            result => result?,
        };
    }
    Ok(match inside::stat(&dir, name)? {
        Some(stat) if inside::is_whiteout(&stat) => Lookup::Hidden,
        Some(stat) => Lookup::Found(stat),
        None if hidden => Lookup::Hidden,
        None => Lookup::Absent,
    })
}

/// Whether overlay merely copied a directory up to hold something.
fn same_directory(below: &Stat, above: &Stat) -> bool {
    let key = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
    key(below) == key(above)
}
