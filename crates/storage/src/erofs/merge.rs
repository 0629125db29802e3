//! Laying one tree on another, as overlayfs shows two layers (OCI image specification, layer.md, "Applying
//! Changesets").

use super::tree::{Body, Id, Inode, ROOT, Tree};
use std::collections::BTreeMap;

/// Lays `upper` on `lower`, below which nothing lies. What `upper` hides is gone from the result, with the marks that
/// hide it: in a directory that nothing lies below, overlayfs would show them.
pub(crate) fn merge(lower: &mut Tree, upper: Tree) {
    let offset = lower.inodes.len();
    lower.inodes.extend(upper.inodes.into_iter().map(|mut inode| {
        if let Body::Directory(children) = &mut inode.body {
            children.values_mut().for_each(|id| *id += offset);
        }
        inode
    }));
    let mut waiting = vec![(ROOT, offset)];
    while let Some((below, above)) = waiting.pop() {
        let children = take_children(&mut lower.inodes[above]);
        if lower.inodes[above].opaque {
            take_children(&mut lower.inodes[below]);
        }
        if !lower.inodes[above].implied || below == ROOT {
            describe(lower, below, above);
        }
        for (name, id) in children {
            match place(lower, below, &name, id) {
                Some(there) => waiting.push((there, id)),
                None if !matches!(lower.inodes[id].body, Body::Whiteout) => {
                    lower.set_child(below, &name, id);
                }
                None => {
                    if let Body::Directory(children) = &mut lower.inodes[below].body {
                        children.remove(&name);
                    }
                }
            }
        }
    }
}

/// The directory that `id` is to be merged into, if that is how it gets its place.
fn place(tree: &Tree, below: Id, name: &[u8], id: Id) -> Option<Id> {
    let there = tree.children(below)?.get(name).copied()?;
    (tree.inodes[id].is_directory() && tree.inodes[there].is_directory()).then_some(there)
}

/// A directory looks as the topmost layer describes it.
fn describe(tree: &mut Tree, below: Id, above: Id) {
    let Inode { mode, uid, gid, mtime, .. } = tree.inodes[above];
    let xattrs = std::mem::take(&mut tree.inodes[above].xattrs);
    let target = &mut tree.inodes[below];
    (target.mode, target.uid, target.gid, target.mtime) = (mode, uid, gid, mtime);
    target.xattrs = xattrs;
    target.implied = false;
}

fn take_children(inode: &mut Inode) -> BTreeMap<Vec<u8>, Id> {
    match &mut inode.body {
        Body::Directory(children) => std::mem::take(children),
        _ => BTreeMap::new(),
    }
}
