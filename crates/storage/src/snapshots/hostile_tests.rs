//! Archives that try to get out, and what a layer must survive.

use super::tests::{ALL, Temporary, laid_out};
use super::*;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use wharf_model::snapshots::conformance::{dir, file, link, tar};
use wharf_oci::digest::Digest;
use wharf_oci::tar::{Entry, Kind};

/// A layer's own root directory.
#[derive(Debug)]
struct Opened {
    _fd: OwnedFd,
    path: PathBuf,
}

impl Deref for Opened {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.path
    }
}

fn unpack(store: &Temporary, entries: &[(Entry, &[u8])]) -> Result<Opened> {
    let (diff, bytes) = tar(entries);
    let layer = store.store.unpack(None, &diff, &mut &bytes[..])?;
    Ok(open(store, &layer))
}

fn open(store: &Temporary, layer: &Layer) -> Opened {
    let fd = merged::piece(&store.store.view(&layer.chain_id).unwrap()[0], &Mounts::default()).unwrap();
    Opened { path: Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string()), _fd: fd }
}

/// Each way that layers are kept in here.
fn each(test: impl Fn(Temporary)) {
    ALL.into_iter().filter_map(laid_out).for_each(test);
}

/// A directory beside the store that nothing may touch.
fn outside(store: &Temporary) -> PathBuf {
    let path = store.dir.path().join("outside");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("secret"), "secret").unwrap();
    path
}

fn untouched(path: &Path) -> bool {
    let names: Vec<_> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
    names == ["secret"] && std::fs::read_to_string(path.join("secret")).unwrap() == "secret"
}

#[test]
fn names_that_lead_out_are_refused_and_named() {
    each(|store| {
        let outside = outside(&store);
        for name in
            ["../x", "a/../../x", "..", "/../../x", "../outside/secret", ".wh.", "d/.wh..", "d/.wh..."]
        {
            let error = unpack(&store, &[dir("d"), file(name, "evil")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
            assert!(error.full().contains(name), "{}", error.full());
        }
        assert!(untouched(&outside));
        assert!(store.store.layers().unwrap().is_empty());
    });
}

#[test]
fn absolute_names_land_in_the_layer() {
    each(|store| {
        let root = unpack(&store, &[file("/abs/a", "1"), file("./b/./c", "2"), file("x/../y", "3")]).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("abs/a")).unwrap(), "1");
        assert_eq!(std::fs::read_to_string(root.join("b/c")).unwrap(), "2");
        assert_eq!(std::fs::read_to_string(root.join("y")).unwrap(), "3");
    });
}

#[test]
fn links_are_resolved_in_the_layer() {
    each(|store| {
        let outside = outside(&store);
        let target = outside.to_str().unwrap();
        let up = "../../../../../../../../../../..".to_owned() + target;
        let proc = "/proc/self/root".to_owned() + target;
        for escape in [target, &up, &proc] {
            let root = unpack(
                &store,
                &[link(Kind::Symlink, "l", escape), file("l/secret", "evil"), file("l/new", "")],
            );
            let root = root.unwrap();
            assert_eq!(std::fs::read_link(root.join("l")).unwrap().as_os_str().as_bytes(), escape.as_bytes());
            assert!(untouched(&outside), "{escape}");
        }
        // A link in the place of the file itself is replaced, not written through.
        let secret = outside.join("secret");
        let root =
            unpack(&store, &[link(Kind::Symlink, "f", secret.to_str().unwrap()), file("f", "mine")]).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("f")).unwrap(), "mine");
        assert!(untouched(&outside));
        // Nor are a directory's attributes set through one.
        unpack(&store, &[dir("d"), link(Kind::Symlink, "d", target)]).unwrap();
        assert!(untouched(&outside));
        let circle = [link(Kind::Symlink, "a", "b"), link(Kind::Symlink, "b", "a"), file("a/x", "")];
        assert_eq!(unpack(&store, &circle).unwrap_err().kind(), ErrorKind::Invalid);
    });
}

#[test]
fn hard_links_cannot_reach_out() {
    each(|store| {
        let outside = outside(&store);
        let secret = outside.join("secret").to_str().unwrap().to_owned();
        for target in [&secret[..], "../outside/secret", "l/secret", "/etc/passwd", "", ".", "absent"] {
            let entries = [
                link(Kind::Symlink, "l", outside.to_str().unwrap()),
                link(Kind::HardLink, "h", target),
                file("h", "evil"),
            ];
            let error = unpack(&store, &entries).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{target}");
            assert!(error.full().contains("\"h\""), "{}", error.full());
        }
        // A hard link to a link is another name of the link.
        let entries = [link(Kind::Symlink, "l", &secret), link(Kind::HardLink, "h", "l")];
        let root = unpack(&store, &entries).unwrap();
        assert!(root.join("h").symlink_metadata().unwrap().is_symlink());
        let root = unpack(&store, &[file("a", "1"), link(Kind::HardLink, "a", "a")]).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "1");
        assert!(untouched(&outside));
    });
}

#[test]
fn later_entries_replace_earlier_ones() {
    each(|store| {
        let root = unpack(
            &store,
            &[
                dir("a"),
                file("a/b/c", "1"),
                file("a", "file"),
                file("d", "file"),
                dir("d"),
                file("d/e", "2"),
                file("f", "1"),
                link(Kind::Symlink, "f", "d"),
                dir("f"),
                file("g", "1"),
                file("g", "2"),
            ],
        )
        .unwrap();
        assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "file");
        assert_eq!(std::fs::read_to_string(root.join("d/e")).unwrap(), "2");
        assert!(root.join("f").symlink_metadata().unwrap().is_dir());
        assert_eq!(std::fs::read_to_string(root.join("g")).unwrap(), "2");
    });
}

#[test]
fn marks_of_overlay_are_not_taken_from_archives() {
    each(|store| {
        let names =
            ["trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.opaque", "security.selinux"];
        let xattrs = names.map(|n| (n.as_bytes().to_vec(), b"/y".to_vec())).to_vec();
        let root = unpack(&store, &[(Entry { xattrs, ..Entry::new(Kind::Directory, "d") }, b"")]).unwrap();
        let mut list = Vec::with_capacity(1024);
        rustix::fs::llistxattr(root.join("d"), rustix::buffer::spare_capacity(&mut list)).unwrap();
        assert!(!String::from_utf8_lossy(&list).contains("overlay"));
    });
}

#[test]
fn sparse_files_keep_their_holes_up_to_a_bound() {
    each(|store| {
        let sparse = |size: u64| {
            // Pax 0.1: the map in a record, only the data in the archive.
            let mut records = Vec::new();
            for (key, value) in
                [("GNU.sparse.size", size.to_string()), ("GNU.sparse.map", format!("{},4", size - 4))]
            {
                let length = key.len() + value.len() + 5;
                assert!((10..100).contains(&length));
                records.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
            }
            let (_, mut head) = tar(&[(Entry::new(Kind::File, "pax"), &records[..])]);
            head.truncate(head.len() - 1024);
            head[156] = b'x';
            head[148..156].fill(b' ');
            let sum: u32 = head[..512].iter().map(|b| u32::from(*b)).sum();
            head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            head.extend_from_slice(&tar(&[file("holes", "data")]).1);
            (DiffId(Digest::sha256(&head)), head)
        };
        let (diff, bytes) = sparse(8 << 30);
        let layer = store.store.unpack(None, &diff, &mut &bytes[..]).unwrap();
        let root = open(&store, &layer);
        let path = root.join("holes");
        let metadata = path.metadata().unwrap();
        assert_eq!(metadata.len(), 8 << 30);
        let mut end = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&File::open(&path).unwrap(), &mut end, (8 << 30) - 8)
            .unwrap();
        assert_eq!(&end, b"\0\0\0\0data");
        assert!(on_disk(store.dir.path()) < 1 << 20);
        let (diff, bytes) = sparse(2 << 40);
        let error = store.store.unpack(None, &diff, &mut &bytes[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.full().contains("holes"), "{}", error.full());
    });
}

#[test]
fn deep_and_long_names() {
    each(|store| {
        let deep = "d/".repeat(1000) + "f";
        unpack(&store, &[file(&deep, "1")]).unwrap();
        let error = unpack(&store, &[file(&"n".repeat(256), "")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    });
}

/// Bytes of blocks of everything below.
fn on_disk(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
    entries
        .map(|path| match path.symlink_metadata().unwrap() {
            m if m.is_dir() => on_disk(&path),
            m => m.blocks() * 512,
        })
        .sum()
}
