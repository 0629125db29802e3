//! What every implementation of [`Snapshots`] does. Panics say what does not hold. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

use super::{ChangeKind, RootMount, Snapshots, Tree, WriteOptions, skeleton};
use crate::error::ErrorKind;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use wharf_oci::digest::{ChainId, DiffId, Digest};
use wharf_oci::tar::{Entry, Kind, Reader, Timestamp, Writer};

/// Mounts a root for a moment and lets files be changed in it.
pub type Inside<'a> = &'a dyn Fn(&RootMount, &mut dyn FnMut(&Path));

/// Runs every case, each on a fresh store.
pub fn suite<S: Snapshots>(make: impl Fn() -> S, inside: Inside<'_>) {
    layers(&make());
    lifecycle(&make());
    whiteouts(&make());
    attributes(&make());
    changes(&make(), inside);
    commit(&make(), inside);
    export_of_removals(&make(), &make(), inside);
    writing(&make());
    populating(&make());
    stubs(&make(), inside);
}

/// A tar of entries with their content.
pub fn tar(entries: &[(Entry, &[u8])]) -> (DiffId, Vec<u8>) {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        match entry.kind {
            Kind::File => writer.file(entry, content).unwrap(),
            _ => writer.header(entry).unwrap(),
        }
    }
    let bytes = writer.finish().unwrap();
    (DiffId(Digest::sha256(&bytes)), bytes)
}

pub fn file<'a>(path: &str, content: &'a str) -> (Entry, &'a [u8]) {
    (
        Entry { mtime: Timestamp { seconds: 1_000_000, nanos: 0 }, ..Entry::new(Kind::File, path) },
        content.as_bytes(),
    )
}

pub fn dir(path: &str) -> (Entry, &'static [u8]) {
    let mtime = Timestamp { seconds: 1_000_000, nanos: 0 };
    (Entry { mtime, ..Entry::new(Kind::Directory, path) }, b"")
}

pub fn link(kind: Kind, path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry { link: target.into(), ..Entry::new(kind, path) }, b"")
}

fn unpack(store: &dyn Snapshots, parent: Option<&ChainId>, entries: &[(Entry, &[u8])]) -> ChainId {
    let (diff, bytes) = tar(entries);
    store.unpack(parent, &diff, &mut &bytes[..]).unwrap().chain_id
}

/// Every path of a tree with its entry and content. A snapshot's skeleton is left out.
pub fn content(store: &dyn Snapshots, tree: Tree<'_>) -> BTreeMap<String, (Entry, Vec<u8>)> {
    let mut bytes = Vec::new();
    store.read_tar(tree, Path::new("/"), None, &mut bytes).unwrap();
    let mut reader = Reader::new(&bytes[..]);
    let mut found = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let name = entry.name();
        let name = name.strip_prefix("./").unwrap_or(&name).trim_matches('/').to_owned();
        found.insert(if name == "." { String::new() } else { name }, (entry, content));
    }
    if matches!(tree, Tree::Snapshot(_)) {
        found.retain(|name, _| !skeleton::contains(name));
    }
    found
}

fn names(store: &dyn Snapshots, tree: Tree<'_>) -> Vec<String> {
    content(store, tree).into_keys().filter(|n| !n.is_empty()).collect()
}

fn layers(store: &dyn Snapshots) {
    let (diff, bytes) = tar(&[dir("d"), file("d/f", "hello")]);
    let layer = store.unpack(None, &diff, &mut &bytes[..]).unwrap();
    assert_eq!((layer.size, layer.parent.clone(), &layer.chain_id.0), (5, None, &diff.0));
    let again = store.unpack(None, &diff, &mut std::io::repeat(1)).unwrap();
    assert_eq!(again, layer, "a layer that is there is not read again");
    assert_eq!(store.layer(&layer.chain_id).unwrap(), Some(layer.clone()));
    assert_eq!(names(store, Tree::Layer(&layer.chain_id)), ["d", "d/f"]);

    let other = DiffId(Digest::sha256(b"something else"));
    let error = store.unpack(None, &other, &mut &bytes[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "another digest than promised");
    let cut = store.unpack(None, &other, &mut &bytes[..600]).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Invalid, "cut off");
    let absent = ChainId(Digest::sha256(b"absent"));
    assert_eq!(store.unpack(Some(&absent), &diff, &mut &bytes[..]).unwrap_err().kind(), ErrorKind::NotFound);
    let chains: Vec<_> = store.layers().unwrap().into_iter().map(|l| l.chain_id).collect();
    assert_eq!(chains, std::slice::from_ref(&layer.chain_id), "what failed left nothing");
    store.recover().unwrap();
    assert_eq!(names(store, Tree::Layer(&layer.chain_id)), ["d", "d/f"], "recover keeps what is recorded");
}

fn lifecycle(store: &dyn Snapshots) {
    let bottom = unpack(store, None, &[file("a", "1")]);
    let top = unpack(store, Some(&bottom), &[file("b", "2")]);
    let mount = store.prepare("one", Some(&top)).unwrap();
    assert_eq!(store.root("one").unwrap(), mount);
    assert_eq!(store.prepare("one", None).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.root("two").unwrap_err().kind(), ErrorKind::NotFound);
    let absent = ChainId(Digest::sha256(b"absent"));
    assert_eq!(store.prepare("two", Some(&absent)).unwrap_err().kind(), ErrorKind::NotFound);
    store.prepare("two", None).unwrap();
    assert_eq!(store.keys().unwrap(), ["one", "two"]);
    assert_eq!(names(store, Tree::Snapshot("one")), ["a", "b"]);
    assert!(names(store, Tree::Snapshot("two")).is_empty());
    assert_eq!(store.remove_layer(&bottom).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.remove_layer(&top).unwrap_err().kind(), ErrorKind::Conflict);
    store.remove("one").unwrap();
    store.remove("one").unwrap();
    store.remove_layer(&top).unwrap();
    store.remove_layer(&bottom).unwrap();
    assert_eq!(store.remove_layer(&bottom).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(store.layers().unwrap().is_empty());
}

fn whiteouts(store: &dyn Snapshots) {
    let bottom =
        unpack(store, None, &[dir("d"), file("d/a", "1"), file("d/b", "1"), dir("e"), file("e/c", "1")]);
    let removed = unpack(store, Some(&bottom), &[dir("d"), file("d/.wh.a", ""), file(".wh.e", "")]);
    assert_eq!(names(store, Tree::Layer(&removed)), ["d", "d/b"]);
    let opaque = unpack(store, Some(&bottom), &[dir("d"), file("d/new", "2"), file("d/.wh..wh..opq", "")]);
    assert_eq!(names(store, Tree::Layer(&opaque)), ["d", "d/new", "e", "e/c"]);
    let replaced =
        unpack(store, Some(&bottom), &[file(".wh.d", ""), dir("d"), file("d/x", ""), file("e", "file")]);
    assert_eq!(names(store, Tree::Layer(&replaced)), ["d", "d/x", "e"]);
    let implied = unpack(store, Some(&bottom), &[file(".wh.d", ""), file("d/y", "")]);
    assert_eq!(names(store, Tree::Layer(&implied)), ["d", "d/y", "e", "e/c"]);
    let own = unpack(store, Some(&bottom), &[file("d/a", "3"), file("d/.wh.a", "")]);
    assert_eq!(
        content(store, Tree::Layer(&own))["d/a"].1,
        b"3",
        "a layer's whiteout hides lower layers only"
    );
}

fn attributes(store: &dyn Snapshots) {
    let mtime = Timestamp { seconds: 1_500_000_000, nanos: 123_456_789 };
    let capability = vec![1, 0, 0, 2, 0, 4, b'\n', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let program = Entry {
        mode: 0o6755,
        uid: 1000,
        gid: 70_000,
        mtime,
        xattrs: vec![(b"security.capability".to_vec(), capability)],
        ..Entry::new(Kind::File, "bin/program")
    };
    let name = vec![b'n', 0xff, 0xfe];
    let entries = vec![
        (Entry { mode: 0o1777, uid: 5, mtime, ..Entry::new(Kind::Directory, "./") }, &b""[..]),
        (Entry { mode: 0o2770, gid: 7, mtime, ..Entry::new(Kind::Directory, "bin") }, b""),
        (program, b"#!"),
        (Entry { mtime, ..Entry::new(Kind::HardLink, "bin/same") }, b""),
        (
            Entry {
                mode: 0o777,
                mtime,
                uid: 3,
                link: b"/bin/program".to_vec(),
                ..Entry::new(Kind::Symlink, "link")
            },
            b"",
        ),
        (Entry { mode: 0o600, mtime, device: (1, 3), ..Entry::new(Kind::Char, "null") }, b""),
        (Entry { mode: 0o640, mtime, ..Entry::new(Kind::Fifo, "pipe") }, b""),
        (Entry { mtime, ..Entry::new(Kind::File, name) }, b"x"),
        (Entry { mtime, ..Entry::new(Kind::File, "l".repeat(200)) }, b""),
    ];
    let mut entries = entries;
    entries[3].0.link = b"bin/program".to_vec();
    let chain = unpack(store, None, &entries);
    store.prepare("key", Some(&chain)).unwrap();
    for tree in [Tree::Layer(&chain), Tree::Snapshot("key")] {
        let found = content(store, tree);
        assert_eq!(found.len(), entries.len());
        for (entry, content) in &entries {
            let (read, bytes) = &found[entry.name().trim_matches(['.', '/'])];
            if entry.kind == Kind::HardLink {
                // Which of the names comes first is the walk's order.
                continue;
            }
            let mut expected = Entry { size: content.len() as u64, ..entry.clone() };
            expected.path.clone_from(&read.path);
            // An entry of the root leaves the root as it is.
            if read.name() == "./" {
                (expected.mode, expected.uid, expected.mtime) = (0o755, 0, read.mtime);
            }
            assert_eq!(*read, expected);
            assert_eq!(bytes, content);
        }
        let links = found.values().filter(|(e, _)| e.kind == Kind::HardLink).count();
        assert_eq!(links, 1);
    }
    let stat = |path: &str, follow| store.stat(Tree::Layer(&chain), Path::new(path), follow).unwrap();
    assert_eq!(stat("/link", false).unwrap().link.unwrap(), Path::new("/bin/program"));
    assert_eq!(stat("link", true).unwrap().size, 2);
    assert_eq!(stat("/../../bin/program", true).unwrap().uid, 1000);
    assert!(stat("/bin/", true).unwrap().is_directory());
    assert_eq!(stat("/absent/x", true), None);
    assert_eq!(stat("/bin/program/x", true), None);
}

fn changes(store: &dyn Snapshots, inside: Inside<'_>) {
    let bottom = unpack(
        store,
        None,
        &[dir("etc"), file("etc/a", "1"), file("etc/b", "1"), dir("var"), file("var/x", "")],
    );
    let top = unpack(store, Some(&bottom), &[file("etc/.wh.b", "")]);
    let mount = store.prepare("key", Some(&top)).unwrap();
    assert!(store.changes("key").unwrap().is_empty());
    assert_eq!(store.size("key").unwrap(), 0);
    inside(&mount, &mut |root| {
        std::fs::write(root.join("etc/a"), "22").unwrap();
        std::fs::write(root.join("etc/b"), "333").unwrap();
        std::fs::remove_file(root.join("var/x")).unwrap();
        std::fs::create_dir_all(root.join("new/deep")).unwrap();
    });
    let found: Vec<(ChangeKind, String)> =
        store.changes("key").unwrap().into_iter().map(|c| (c.kind, c.path.display().to_string())).collect();
    let expected = [
        (ChangeKind::Modified, "/etc"),
        (ChangeKind::Modified, "/etc/a"),
        (ChangeKind::Added, "/etc/b"),
        (ChangeKind::Added, "/new"),
        (ChangeKind::Added, "/new/deep"),
        (ChangeKind::Modified, "/var"),
        (ChangeKind::Deleted, "/var/x"),
    ];
    assert_eq!(found, expected.map(|(k, p)| (k, p.to_owned())));
    assert_eq!(store.size("key").unwrap(), 5);
    assert_eq!(store.changes("absent").unwrap_err().kind(), ErrorKind::NotFound);
}

fn commit(store: &dyn Snapshots, inside: Inside<'_>) {
    let base = unpack(store, None, &[file("a", "1")]);
    let mount = store.prepare("key", Some(&base)).unwrap();
    inside(&mount, &mut |root| {
        std::fs::write(root.join("b"), "22").unwrap();
        std::fs::hard_link(root.join("b"), root.join("c")).unwrap();
        symlink("nowhere", root.join("l")).unwrap();
    });
    let (mut first, mut second) = (Vec::new(), Vec::new());
    store.export("key", &mut first).unwrap();
    store.export("key", &mut second).unwrap();
    assert_eq!(first, second, "the same content gives the same bytes");
    let mut written = Vec::new();
    let layer = store.commit("key", &mut written).unwrap();
    assert_eq!(written, first);
    assert_eq!(layer.diff_id.0, Digest::sha256(&written));
    assert_eq!((layer.parent.as_ref(), layer.size), (Some(&base), 2));
    assert!(store.keys().unwrap().is_empty());
    assert_eq!(names(store, Tree::Layer(&layer.chain_id)), ["a", "b", "c", "l"]);
    let again = store.unpack(Some(&base), &layer.diff_id, &mut std::io::empty()).unwrap();
    assert_eq!(again, layer, "it is the layer its tar would make");

    // Two snapshots with the same content become one layer.
    for key in ["x", "y"] {
        let mount = store.prepare(key, Some(&layer.chain_id)).unwrap();
        inside(&mount, &mut |root| {
            std::fs::write(root.join("same"), "").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
            std::fs::File::options().write(true).open(root.join("same")).unwrap().set_modified(time).unwrap();
        });
    }
    let x = store.commit("x", &mut std::io::sink()).unwrap();
    assert_eq!(store.commit("y", &mut std::io::sink()).unwrap(), x);
    assert_eq!(store.layers().unwrap().len(), 3);
    assert_eq!(store.commit("x", &mut std::io::sink()).unwrap_err().kind(), ErrorKind::NotFound);
}

/// A committed layer and the same unpacked from its tar elsewhere show the same.
fn export_of_removals(store: &dyn Snapshots, elsewhere: &dyn Snapshots, inside: Inside<'_>) {
    let entries = [dir("d"), file("d/a", "1"), dir("d/sub"), dir("e"), file("e/b", "1"), file("f", "")];
    let base = unpack(store, None, &entries);
    unpack(elsewhere, None, &entries);
    let mount = store.prepare("key", Some(&base)).unwrap();
    inside(&mount, &mut |root| {
        std::fs::remove_file(root.join("d/a")).unwrap();
        std::fs::remove_dir_all(root.join("e")).unwrap();
        std::fs::create_dir(root.join("e")).unwrap();
        std::fs::write(root.join("e/new"), "2").unwrap();
        std::fs::remove_file(root.join("f")).unwrap();
        std::fs::create_dir(root.join("f")).unwrap();
    });
    let mut bytes = Vec::new();
    let layer = store.commit("key", &mut bytes).unwrap();
    let there = elsewhere.unpack(Some(&base), &layer.diff_id, &mut &bytes[..]).unwrap();
    let expected = ["d", "d/sub", "e", "e/new", "f"];
    assert_eq!(names(store, Tree::Layer(&layer.chain_id)), expected);
    assert_eq!(names(elsewhere, Tree::Layer(&there.chain_id)), expected);
}

fn writing(store: &dyn Snapshots) {
    let base = unpack(
        store,
        None,
        &[dir("run"), link(Kind::Symlink, "var", "/run"), link(Kind::Symlink, "gone", "/not/there")],
    );
    store.prepare("key", Some(&base)).unwrap();
    let put = |at: &str, entries: &[(Entry, &[u8])], options| {
        store.write_tar("key", Path::new(at), &mut &tar(entries).1[..], options)
    };
    let plain = WriteOptions::default();
    put("/var/lib", &[file("f", "1"), file(".wh.kept", "")], plain).unwrap();
    put("/gone/x", &[file("g", "2")], plain).unwrap();
    let options = WriteOptions { owner: Some((7, 8)), mode: Some(0o400), ..plain };
    put("/", &[file("h", "3")], options).unwrap();
    let found = names(store, Tree::Snapshot("key"));
    let expected = [
        "gone",
        "h",
        "not",
        "not/there",
        "not/there/x",
        "not/there/x/g",
        "run",
        "run/lib",
        "run/lib/.wh.kept",
        "run/lib/f",
        "var",
    ];
    assert_eq!(found, expected);
    let stat = store.stat(Tree::Snapshot("key"), Path::new("/h"), true).unwrap().unwrap();
    assert_eq!((stat.uid, stat.gid, stat.mode & 0o7777), (7, 8, 0o400));
    assert_eq!(put("/h/below", &[file("x", "")], plain).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(put("/", &[file("../x", "")], plain).unwrap_err().kind(), ErrorKind::Invalid);
    let keep = WriteOptions { keep_kinds: true, ..plain };
    assert_eq!(put("/", &[file("run", "")], keep).unwrap_err().kind(), ErrorKind::Conflict);
    let mut bytes = Vec::new();
    store.read_tar(Tree::Snapshot("key"), Path::new("/var/lib/f"), None, &mut bytes).unwrap();
    assert_eq!(Reader::new(&bytes[..]).next_entry().unwrap().unwrap().path, b"f");
    let absent = store.read_tar(Tree::Snapshot("key"), Path::new("/absent"), None, &mut std::io::sink());
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
}

fn stubs(store: &dyn Snapshots, inside: Inside<'_>) {
    let base = unpack(store, None, &[file("full", "1"), dir("kept"), link(Kind::Symlink, "way", "kept")]);
    let root = store.prepare("s", Some(&base)).unwrap();
    inside(&root, &mut |root| {
        std::fs::create_dir_all(root.join("run/secrets")).unwrap();
        std::fs::write(root.join("run/secrets/a"), "").unwrap();
        std::fs::write(root.join("run/b"), "written").unwrap();
        std::fs::write(root.join("kept/c"), "").unwrap();
    });
    let remove = |path: &str| store.remove_stub("s", Path::new(path)).unwrap();
    assert!(!remove("/run/secrets"), "not empty");
    assert!(remove("/run/secrets/a") && remove("/run/secrets"));
    assert!(!remove("/run/b") && !remove("/full"), "it has content");
    assert!(remove("/way/c"), "links are followed in the tree");
    assert!(!remove("/absent") && !remove("/etc/hosts") && !remove("/"));
    let changes: Vec<_> = store.changes("s").unwrap().into_iter().map(|change| change.path).collect();
    assert!(changes.contains(&"/run/b".into()), "{changes:?}");
    assert!(!changes.iter().any(|path| path.starts_with("/run/secrets") || path.starts_with("/kept/c")));
    assert_eq!(store.remove_stub("absent", Path::new("/x")).unwrap_err().kind(), ErrorKind::NotFound);
    store.remove("s").unwrap();
}

fn populating(store: &dyn Snapshots) {
    let data = Entry { mode: 0o750, uid: 9, gid: 9, ..Entry::new(Kind::Directory, "srv/data") };
    let entries = [
        (data, &b""[..]),
        file("srv/data/f", "1"),
        link(Kind::HardLink, "srv/data/g", "srv/data/f"),
        link(Kind::Symlink, "d", "srv/data"),
    ];
    let base = unpack(store, None, &entries);
    let target = tempfile::tempdir().unwrap();
    store.populate(Tree::Layer(&base), Path::new("/d"), target.path()).unwrap();
    let metadata = target.path().metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (9, 0o750));
    assert_eq!(target.path().join("f").metadata().unwrap().nlink(), 2);
    assert_eq!(std::fs::read_to_string(target.path().join("g")).unwrap(), "1");
    let empty = tempfile::tempdir().unwrap();
    for path in ["/absent", "/srv/data/f"] {
        store.populate(Tree::Layer(&base), Path::new(path), empty.path()).unwrap();
    }
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
