//! Indexes against what extraction of the same tars makes.

use super::*;
use crate::snapshots::extract::{Extractor, Whiteouts, extract};
use crate::snapshots::walk::walk;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wharf_model::Result;
use wharf_model::snapshots::conformance::{dir, file, link, tar};
use wharf_oci::tar::{Entry, Kind, Reader, Timestamp};

/// Everything stat(2) and the content tell of a name; names of one file share a number.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    stat: (u32, u32, u32, i64, i64, u64, u64, u64),
    content: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    same_as: Vec<u8>,
}

fn look(root: &OwnedFd) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut first: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    walk(root, &mut |node| {
        let path = crate::snapshots::inside::through_proc(node.dir, node.name);
        let m = std::fs::symlink_metadata(&path)?;
        let is_dir = m.is_dir();
        let content = match m.file_type() {
            t if t.is_file() => {
                let digest = wharf_oci::digest::Digest::of_stream(
                    File::open(&path)?,
                    &wharf_oci::digest::Digest::sha256(b""),
                )?;
                digest.hex().as_bytes().to_vec()
            }
            t if t.is_symlink() => std::fs::read_link(&path)?.into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        let same_as = first.entry(m.ino()).or_insert_with(|| node.path.to_vec()).clone();
        let (size, links) = if is_dir { (0, 0) } else { (m.len(), m.nlink()) };
        let stat = (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), size, links, m.rdev());
        let xattrs = crate::snapshots::inside::xattrs(node.dir, node.name)?;
        seen.insert(node.path.to_vec(), Seen { stat, content, xattrs, same_as });
        Ok(())
    })
    .unwrap();
    seen
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting needs root");
            return None;
        }
        Some(Self(tempfile::tempdir_in("/var/tmp").unwrap()))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// The layers' tars, bottom first, as one mounted index. `None` where the kernel has no such mounts.
    fn mounted(&self, tars: &[Vec<u8>], backing: wharf_sys::erofs::Backing) -> Result<Option<OwnedFd>> {
        let mut devices = Vec::new();
        let mut whole: Option<Tree> = None;
        for (n, bytes) in tars.iter().enumerate() {
            std::fs::write(self.path(&format!("{n}.tar")), bytes).unwrap();
            let side = self.path(&format!("{n}.side"));
            let device = u16::try_from(devices.len()).unwrap();
            let mut make = || File::create(&side);
            let first =
                scan(&mut Reader::new(&bytes[..]), Root::default(), device, Content::Copied(&mut make))?;
            let mut tar = TarFile::open(&self.path(&format!("{n}.tar")))?;
            let layer = scan(&mut tar, Root::default(), device, Content::There)?;
            assert_eq!(
                (layer.size, layer.side, layer.tree.inodes.len()),
                (first.size, first.side, first.tree.inodes.len())
            );
            devices.push(Device { tag: format!("{n}.tar"), size: bytes.len() as u64 });
            if layer.side > 0 {
                assert_eq!(side.metadata().unwrap().len(), layer.side);
                devices.push(Device { tag: format!("{n}.side"), size: layer.side });
            }
            match &mut whole {
                None => whole = Some(layer.tree),
                Some(below) => merge(below, layer.tree),
            }
        }
        let image = write(&whole.unwrap(), &devices, false).unwrap();
        let path = self.path("index").with_extension(backing.extension());
        std::fs::write(&path, image).unwrap();
        match wharf_sys::erofs::mount(&path, "") {
            Ok(mount) => Ok(Some(crate::snapshots::merged::root_of(&mount).unwrap())),
            Err(e) => {
                println!("skipped: no {backing:?} mounts of EROFS here: {e}");
                Ok(None)
            }
        }
    }

    /// The same as containerd has it: each layer extracted over the one below, whiteouts removing what they name.
    fn extracted(&self, tars: &[Vec<u8>]) -> Result<OwnedFd> {
        let path = self.path("plain");
        std::fs::create_dir(&path).unwrap();
        let root = crate::snapshots::inside::open_root(&path).unwrap();
        for bytes in tars {
            let mut extractor = Extractor::new(root.as_fd(), Whiteouts::Plain);
            extract(&mut Reader::new(&bytes[..]), &mut extractor)?;
        }
        Ok(root)
    }
}

fn same(tars: &[Vec<u8>]) {
    for backing in [wharf_sys::erofs::Backing::File, wharf_sys::erofs::Backing::Loop] {
        let Some(place) = Place::new() else { return };
        let Some(mounted) = place.mounted(tars, backing).unwrap() else { continue };
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        let (mounted, plain) = (look(&mounted), look(&place.extracted(tars).unwrap()));
        assert_eq!(mounted.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
        for (path, mut expected) in plain {
            // A directory that no entry describes is as old as its extraction; in an index always the same.
            let in_index = (mounted[&path].stat.3, mounted[&path].stat.4);
            if expected.stat.3 > now - 600 && in_index == (0, 0) {
                (expected.stat.3, expected.stat.4) = (0, 0);
            }
            assert_eq!(mounted[&path], expected, "{}", String::from_utf8_lossy(&path));
        }
    }
}

fn sample() -> Vec<(Entry, Vec<u8>)> {
    let mtime = Timestamp { seconds: 1_500_000_000, nanos: 123_456_789 };
    let capability = vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let xattrs = vec![
        (b"security.capability".to_vec(), capability),
        (b"user.note".to_vec(), vec![7; 700]),
        (b"user.empty".to_vec(), vec![]),
    ];
    let mut entries = vec![
        (Entry { mode: 0o2770, gid: 7, mtime, ..Entry::new(Kind::Directory, "bin") }, vec![]),
        (
            Entry {
                mode: 0o6755,
                uid: 1000,
                gid: 70_000,
                mtime,
                xattrs: xattrs.clone(),
                ..Entry::new(Kind::File, "bin/program")
            },
            (0..5000u32).flat_map(u32::to_le_bytes).collect(),
        ),
        (Entry { link: b"bin/program".to_vec(), ..Entry::new(Kind::HardLink, "other/same") }, vec![]),
        (
            Entry { link: b"/bin/program".to_vec(), mtime, uid: 3, ..Entry::new(Kind::Symlink, "link") },
            vec![],
        ),
        (Entry { link: vec![b'x'; 4000], mtime, ..Entry::new(Kind::Symlink, "long-link") }, vec![]),
        (Entry { link: vec![b'x'; 449], mtime, ..Entry::new(Kind::Symlink, "middle-link") }, vec![]),
        (Entry { mode: 0o600, mtime, device: (1, 3), ..Entry::new(Kind::Char, "null") }, vec![]),
        (Entry { mode: 0o600, mtime, device: (259, 300_000), ..Entry::new(Kind::Block, "disk") }, vec![]),
        (Entry { mode: 0o640, mtime, ..Entry::new(Kind::Fifo, "pipe") }, vec![]),
        (Entry { mtime, ..Entry::new(Kind::File, vec![b'n', 0xff, 0xfe]) }, b"x".to_vec()),
        (Entry { mtime, ..Entry::new(Kind::File, "empty") }, vec![]),
        (Entry { mtime, xattrs, ..Entry::new(Kind::Directory, "noted") }, vec![]),
        (Entry { mtime: Timestamp { seconds: -5, nanos: 5 }, ..Entry::new(Kind::File, "old") }, vec![1; 512]),
    ];
    for n in 0..700 {
        entries.push((
            Entry { mtime, ..Entry::new(Kind::File, format!("many/{n}{}", "!".repeat(n % 200))) },
            vec![n as u8; n],
        ));
    }
    entries
}

fn bytes(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    tar(&entries.iter().map(|(e, c)| (e.clone(), &c[..])).collect::<Vec<_>>()).1
}

#[test]
fn every_kind_of_entry_is_as_extracted() {
    same(&[bytes(&sample())]);
}

#[test]
fn entries_that_replace_each_other_are_as_extracted() {
    let entries = [
        dir("a"),
        file("a/b/c", "1"),
        file("a", "file"),
        file("d", "file"),
        dir("d"),
        file("d/e", "2"),
        link(Kind::Symlink, "l", "d"),
        file("l/through", "3"),
        link(Kind::Symlink, "up", "../../d"),
        file("up/through", "4"),
        file("g", "1"),
        link(Kind::HardLink, "h", "g"),
        file("g", "2"),
        link(Kind::HardLink, "h", "h"),
        link(Kind::Symlink, "nowhere", "not/there"),
        file("nowhere/x", "5"),
        file("./q/./r", ""),
        file("/s/t", "6"),
    ];
    same(&[tar(&entries).1]);
}

#[test]
fn layers_lie_on_each_other_as_extracted_one_after_the_other() {
    let lower = [dir("d"), file("d/a", "1"), file("d/b", "1"), dir("e"), file("e/c", "1"), file("f", "1")];
    let upper = [
        (Entry { mode: 0o700, ..Entry::new(Kind::Directory, "d") }, &b""[..]),
        file("d/a", "2"),
        file("implied/x", "1"),
        file("e", "a file for a directory"),
        dir("f"),
        file("f/g", "a directory for a file"),
    ];
    same(&[tar(&lower).1, tar(&upper).1]);
}

#[test]
fn what_a_layer_hides_is_gone() {
    let Some(place) = Place::new() else { return };
    let lower =
        tar(&[dir("d"), file("d/a", "1"), file("d/b", "1"), dir("e"), file("e/c", "1"), dir("k/l")]).1;
    let mode = Entry { mode: 0o711, uid: 4, ..Entry::new(Kind::Directory, "k") };
    let upper = tar(&[
        file("d/.wh.a", ""),
        file(".wh.e", ""),
        file("e/new", "2"),
        file(".wh.absent", ""),
        (mode, b""),
        file("k/.wh..wh..opq", ""),
        file("k/m", ""),
    ])
    .1;
    let Some(root) = place.mounted(&[lower, upper], wharf_sys::erofs::Backing::File).unwrap() else { return };
    let names: Vec<_> = look(&root).into_keys().map(|n| String::from_utf8(n).unwrap()).collect();
    assert_eq!(names, ["d", "d/b", "e", "e/new", "k", "k/m"]);
}

#[test]
fn implied_directories_look_like_those_below() {
    let Some(place) = Place::new() else { return };
    let lower = tar(&[(Entry { mode: 0o1777, uid: 9, ..Entry::new(Kind::Directory, "tmp") }, b"")]).1;
    let upper = tar(&[file("tmp/x", "")]).1;
    let Some(root) = place.mounted(&[lower, upper], wharf_sys::erofs::Backing::File).unwrap() else { return };
    assert_eq!((look(&root)[&b"tmp"[..]].stat.0, look(&root)[&b"tmp"[..]].stat.1), (0o041_777, 9));
}

/// A tree with all that archives can hold, made by the host's file system.
fn make_tree(top: &Path) {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
    std::fs::create_dir_all(top.join("a/b")).unwrap();
    std::fs::create_dir(top.join("c")).unwrap();
    std::fs::write(top.join("a/file"), "content").unwrap();
    std::fs::hard_link(top.join("a/file"), top.join("c/linked")).unwrap();
    std::fs::write(top.join("empty"), "").unwrap();
    std::fs::write(top.join("setuid"), vec![7; 1000]).unwrap();
    std::fs::set_permissions(top.join("setuid"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    std::os::unix::fs::chown(top.join("setuid"), Some(70_000), Some(3)).unwrap();
    std::fs::set_permissions(top.join("setuid"), std::fs::Permissions::from_mode(0o4711)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(top.join("empty"), "user.note", b"1", flags).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(top.join("a/file"), "security.capability", &capability, flags).unwrap();
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    for at in [1 << 20, (3 << 20) + 8192] {
        sparse.write_all_at(&[9; 5000], at).unwrap();
    }
    symlink("../a/file", top.join("c/link")).unwrap();
    symlink("t/".repeat(90), top.join("long-link")).unwrap();
    let long = top.join(format!("{}/{}", "d".repeat(120), "e".repeat(130)));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("f".repeat(200)), "deep").unwrap();
    std::fs::write(top.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff\xfe")), "x").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    let node = |name, kind, device| {
        rustix::fs::mknodat(rustix::fs::CWD, top.join(name), kind, mode, device).unwrap();
    };
    node("pipe", rustix::fs::FileType::Fifo, 0);
    node("null", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("disk", rustix::fs::FileType::BlockDevice, rustix::fs::makedev(8, 1));
    make_old(top);
}

/// Long ago, so that nothing looks as if it was just extracted.
fn make_old(path: &Path) {
    if path.symlink_metadata().unwrap().is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| make_old(&entry.unwrap().path()));
    }
    let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

const PYTHON: &str = "
import os, sys, tarfile
form = {'pax': tarfile.PAX_FORMAT, 'gnu': tarfile.GNU_FORMAT, 'ustar': tarfile.USTAR_FORMAT}[sys.argv[1]]
with tarfile.open(sys.argv[3], 'w', format=form, errors='surrogateescape') as tar:
    os.chdir(sys.argv[2])
    for name in sorted(os.listdir('.')):
        if form != tarfile.USTAR_FORMAT or not name.startswith(('d' * 120, 'long', 'setuid')):
            tar.add(name)
";

const GO: &str = r#"package main

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	format := map[string]tar.Format{"pax": tar.FormatPAX, "gnu": tar.FormatGNU, "ustar": tar.FormatUSTAR}[os.Args[1]]
	out, err := os.Create(os.Args[3])
	must(err)
	must(os.Chdir(os.Args[2]))
	writer, first := tar.NewWriter(out), map[uint64]string{}
	must(filepath.Walk(".", func(path string, info os.FileInfo, err error) error {
		must(err)
		if format == tar.FormatUSTAR && (strings.HasPrefix(path, "ddd") || strings.HasPrefix(path, "long") || strings.HasPrefix(path, "not")) {
			return nil
		}
		link, _ := os.Readlink(path)
		header, err := tar.FileInfoHeader(info, link)
		must(err)
		header.Name, header.Format, header.AccessTime, header.ChangeTime = path, format, time.Time{}, time.Time{}
		if info.IsDir() {
			header.Name += "/"
		}
		if format != tar.FormatPAX {
			header.ModTime = header.ModTime.Truncate(time.Second)
		} else if info.Mode().IsRegular() {
			for _, name := range []string{"user.note", "security.capability"} {
				value := make([]byte, 100)
				if n, err := syscall.Getxattr(path, name, value); err == nil {
					if header.PAXRecords == nil {
						header.PAXRecords = map[string]string{}
					}
					header.PAXRecords["SCHILY.xattr."+name] = string(value[:n])
				}
			}
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Nlink > 1 && info.Mode().IsRegular() {
			if other, ok := first[stat.Ino]; ok {
				header.Typeflag, header.Linkname, header.Size = tar.TypeLink, other, 0
			}
			first[stat.Ino] = path
		}
		must(writer.WriteHeader(header))
		if header.Typeflag == tar.TypeReg {
			file, err := os.Open(path)
			must(err)
			_, err = io.Copy(writer, file)
			must(err)
		}
		return nil
	}))
	must(writer.Close())
}
"#;

/// A program of Go's that packs trees; `None` where there is no Go.
fn packer_of_go(place: &Place) -> Option<std::path::PathBuf> {
    let (source, program) = (place.path("pack.go"), place.path("pack"));
    std::fs::write(&source, GO).unwrap();
    let mut build = std::process::Command::new("go");
    build
        .args(["build", "-o"])
        .arg(&program)
        .arg(&source)
        .env("GOCACHE", place.path("go"))
        .env("GO111MODULE", "off");
    match build.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(program)
        }
        Err(e) => {
            println!("skipped: go: {e}");
            None
        }
    }
}

#[test]
fn archives_of_other_programs_are_as_extracted() {
    let Some(place) = Place::new() else { return };
    let top = place.path("tree");
    make_tree(&top);
    let from = top.display().to_string();
    let mut ways: Vec<(&str, Vec<&str>)> = Vec::new();
    let xattrs = ["--xattrs", "--xattrs-include=*"];
    for form in ["--format=pax", "--format=gnu", "--format=posix"] {
        ways.push((
            "tar",
            [&["--sparse", form][..], if form == "--format=gnu" { &[] } else { &xattrs }].concat(),
        ));
        ways.push(("tar", vec![form]));
    }
    for version in ["0.0", "0.1", "1.0"] {
        let version: &'static str = match version {
            "0.0" => "--sparse-version=0.0",
            "0.1" => "--sparse-version=0.1",
            _ => "--sparse-version=1.0",
        };
        ways.push(("tar", vec!["--format=pax", "--sparse", version]));
    }
    ways.push(("tar", vec!["--format=ustar", "--exclude=ddd*", "--exclude=long-link", "--exclude=setuid"]));
    for form in ["--format=pax", "--format=gnutar"] {
        ways.push(("bsdtar", vec![form]));
    }
    for form in ["pax", "gnu", "ustar"] {
        ways.push(("python3", vec!["-c", PYTHON, form, &from]));
    }
    let go = packer_of_go(&place).map(|program| program.display().to_string());
    for form in ["pax", "gnu", "ustar"] {
        ways.extend(go.as_deref().map(|go| (go, vec![form, &from])));
    }
    let mut tried = 0;
    for (program, options) in ways {
        let archive = place.path("archive");
        let mut command = std::process::Command::new(program);
        command.args(&options);
        if !program.ends_with("tar") {
            command.arg(&archive);
        } else {
            command.arg("-C").arg(&top).arg("-cf").arg(&archive).arg(".");
        }
        match command.output() {
            Ok(output) if output.status.success() => {
                println!("{program} {options:?}");
                same(&[std::fs::read(&archive).unwrap()]);
                tried += 1;
            }
            Ok(output) => panic!("{program} {options:?}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(e) => println!("skipped: {program}: {e}"),
        }
    }
    assert!(tried > 0, "no program here makes archives");
}

const BIG: &str = "
import sys, tarfile
form = {'pax': tarfile.PAX_FORMAT, 'gnu': tarfile.GNU_FORMAT}[sys.argv[1]]
with open(sys.argv[2], 'wb') as out:
    for name, size in (('big', (8 << 30) + 5000), ('after', 3)):
        info = tarfile.TarInfo(name)
        info.size = size
        out.write(info.tobuf(form))
        begin = out.tell()
        out.seek(begin + size - 3)
        out.write(b'end')
        out.seek(begin + (size + 511) // 512 * 512)
    out.truncate(out.tell() + 1024)
";

#[test]
fn files_of_more_than_8_gib_have_their_end() {
    use std::os::unix::fs::FileExt;
    let Some(place) = Place::new() else { return };
    for form in ["pax", "gnu"] {
        let (path, index) = (place.path("0.tar"), place.path("index"));
        // Nothing but its last bytes is on the disk.
        let made = std::process::Command::new("python3").args(["-c", BIG, form]).arg(&path).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: no Python makes archives here");
            return;
        }
        let size = path.metadata().unwrap().len();
        let mut tar = TarFile::open(&path).unwrap();
        let layer = scan(&mut tar, Root::default(), 0, Content::There).unwrap();
        let image = write(&layer.tree, &[Device { tag: "0.tar".into(), size }], false).unwrap();
        let index = index.with_extension(wharf_sys::erofs::Backing::File.extension());
        std::fs::write(&index, image).unwrap();
        let Ok(mount) = wharf_sys::erofs::mount(&index, "") else {
            println!("skipped: no mounts of EROFS here");
            return;
        };
        let root = crate::snapshots::merged::root_of(&mount).unwrap();
        for (name, length) in [("big", (8 << 30) + 5000), ("after", 3)] {
            let file = File::from(
                rustix::fs::openat(&root, name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
                    .unwrap(),
            );
            let mut end = [0; 3];
            file.read_exact_at(&mut end, length - 3).unwrap();
            assert_eq!((file.metadata().unwrap().len(), &end), (length, b"end"), "{form} {name}");
        }
    }
}

#[test]
#[ignore = "compares whole images; run by hand with WHARF_TEST_TAR=file.tar[:file.tar...], layers from the bottom up"]
fn whole_images_are_as_extracted() {
    let paths = std::env::var("WHARF_TEST_TAR").unwrap();
    let tars: Vec<Vec<u8>> = paths.split(':').map(|path| std::fs::read(path).unwrap()).collect();
    same(&tars);
}

#[test]
#[ignore = "prints times; run by hand with WHARF_TEST_TAR=file.tar"]
fn index_time() {
    let path = std::env::var("WHARF_TEST_TAR").unwrap();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let size = std::fs::metadata(&path).unwrap().len();
        let mut tar = TarFile::open(Path::new(&path)).unwrap();
        let layer = scan(&mut tar, Root::default(), 0, Content::There).unwrap();
        let scanned = start.elapsed();
        let image = write(&layer.tree, &[Device { tag: "x".into(), size }], false).unwrap();
        println!(
            "{} names: scan {scanned:?}, all {:?}, {} bytes",
            layer.tree.inodes.len(),
            start.elapsed(),
            image.len()
        );
    }
}

/// Whether the tree takes what a small archive asks of it; a bound without an end would hang here.
fn put_all(entries: impl Iterator<Item = Entry>) -> Result<()> {
    let mut tree = Tree::new(Root::default());
    entries.into_iter().try_for_each(|entry| tree.put(&entry, None))
}

#[test]
fn whiteouts_count_as_files() {
    let whiteouts = |count| (0..count).map(|n| Entry::new(Kind::File, format!(".wh.{n}")));
    assert!(put_all(whiteouts(1000)).is_ok());
    let error = put_all(whiteouts(MAX_INODES + 2)).unwrap_err();
    assert!(error.full().contains("more than 1000000 files"), "{}", error.full());
}

#[test]
fn links_that_lead_through_each_other_end() {
    // Each link goes 1,300 times into a directory and out again, and then to the next.
    let detour = |next: usize| format!("{}l{next}", "d/../".repeat(700));
    let links =
        (0..38).map(|n| Entry { link: detour(n + 1).into(), ..Entry::new(Kind::Symlink, format!("l{n}")) });
    let begin = [Entry::new(Kind::Directory, "d"), Entry::new(Kind::Directory, "l38")];
    // Two places in turn, so that the last directory is not the next one's.
    let files = (0..4000).map(|n| Entry::new(Kind::File, format!("l{}/f{n}", n % 2)));
    let error = put_all(begin.into_iter().chain(links).chain(files)).unwrap_err();
    assert!(error.full().contains("symbolic links"), "{}", error.full());
}
