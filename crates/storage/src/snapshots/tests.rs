//! The unpacked implementation against the suite of its seam, and what is its own.

use super::*;
use std::os::fd::AsRawFd;
use wharf_model::records::fake::MemoryRecords;
use wharf_model::snapshots::conformance::{self, dir, file, tar};
use wharf_oci::digest::Digest;
use wharf_sys::erofs::Backing;

/// A store in a directory that goes with it.
pub(super) struct Temporary {
    pub(super) store: DiskSnapshots,
    pub(super) records: Arc<MemoryRecords>,
    pub(super) dir: tempfile::TempDir,
}

/// `None`, said aloud, without root: device nodes and trusted attributes need it.
pub(super) fn temporary() -> Option<Temporary> {
    laid_out(Layout::Unpacked)
}

/// The same with another layout. `None`, said aloud, where the kernel has it not.
pub(super) fn laid_out(layout: Layout) -> Option<Temporary> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: unpacking layers needs root");
        return None;
    }
    // Not in /tmp: overlayfs cannot lie on every tmpfs.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let records = Arc::new(MemoryRecords::default());
    let probed = layout::probe(dir.path()).unwrap();
    let unable = |refused: &String| refused.starts_with(&format!("{layout}:"));
    if let Some(why) = probed.refused.iter().find(|r| unable(r)) {
        println!("skipped: {why}");
        return None;
    }
    let store = DiskSnapshots::open(dir.path(), records.clone(), layout, Arc::default()).unwrap();
    Some(Temporary { store, records, dir })
}

impl Snapshots for Temporary {
    fn unpack(&self, parent: Option<&ChainId>, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Layer> {
        self.store.unpack(parent, diff_id, tar)
    }
    fn receive(&self, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Option<Received>> {
        self.store.receive(diff_id, tar)
    }
    fn adopt(&self, diff_id: &DiffId, tar: &File) -> Result<Option<Received>> {
        self.store.adopt(diff_id, tar)
    }
    fn receives(&self) -> bool {
        self.store.receives()
    }
    fn place(&self, parent: Option<&ChainId>, received: &Received) -> Result<Layer> {
        self.store.place(parent, received)
    }
    fn settle(&self, chain: &ChainId, tar: &File) -> Result<()> {
        self.store.settle(chain, tar)
    }
    fn ready(&self, chain: &ChainId) -> Result<()> {
        self.store.ready(chain)
    }
    fn tar(&self, chain: &ChainId) -> Result<Option<File>> {
        self.store.tar(chain)
    }
    fn check(&self, chain: &ChainId) -> Result<Condition> {
        self.store.check(chain)
    }
    fn mend(&self, chain: &ChainId, tar: Option<&mut dyn Read>) -> Result<()> {
        self.store.mend(chain, tar)
    }
    fn layer(&self, chain: &ChainId) -> Result<Option<Layer>> {
        self.store.layer(chain)
    }
    fn layers(&self) -> Result<Vec<Layer>> {
        self.store.layers()
    }
    fn remove_layer(&self, chain: &ChainId) -> Result<()> {
        self.store.remove_layer(chain)
    }
    fn prepare(&self, key: &str, parent: Option<&ChainId>) -> Result<RootMount> {
        self.store.prepare(key, parent)
    }
    fn root(&self, key: &str) -> Result<RootMount> {
        self.store.root(key)
    }
    fn view(&self, chain: &ChainId) -> Result<Vec<PathBuf>> {
        self.store.view(chain)
    }
    fn size(&self, key: &str) -> Result<u64> {
        self.store.size(key)
    }
    fn changes(&self, key: &str) -> Result<Vec<PathChange>> {
        self.store.changes(key)
    }
    fn export(&self, key: &str, out: &mut dyn Write) -> Result<()> {
        self.store.export(key, out)
    }
    fn commit(&self, key: &str, tar: &mut dyn Write) -> Result<Layer> {
        self.store.commit(key, tar)
    }
    fn remove(&self, key: &str) -> Result<()> {
        self.store.remove(key)
    }
    fn stat(&self, tree: Tree<'_>, path: &Path, follow: bool) -> Result<Option<PathStat>> {
        self.store.stat(tree, path, follow)
    }
    fn read_file(&self, tree: Tree<'_>, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
        self.store.read_file(tree, path, limit)
    }
    fn read_tar(&self, tree: Tree<'_>, path: &Path, called: Option<&str>, out: &mut dyn Write) -> Result<()> {
        self.store.read_tar(tree, path, called, out)
    }
    fn write_tar(&self, key: &str, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()> {
        self.store.write_tar(key, at, tar, options)
    }
    fn remove_stub(&self, key: &str, path: &Path) -> Result<bool> {
        self.store.remove_stub(key, path)
    }
    fn write_live(&self, live: Live<'_>, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()> {
        self.store.write_live(live, at, tar, options)
    }
    fn populate(&self, tree: Tree<'_>, path: &Path, target: &Path) -> Result<()> {
        self.store.populate(tree, path, target)
    }
    fn keys(&self) -> Result<Vec<String>> {
        self.store.keys()
    }
    fn recover(&self) -> Result<()> {
        self.store.recover()
    }
}

fn inside_mount(mount: &RootMount, edit: &mut dyn FnMut(&Path)) {
    let scratch = tempfile::tempdir().unwrap();
    let means = merged::Means { scratch: scratch.path(), mounts: &Mounts::default() };
    let root = merged::open(mount, &means).unwrap();
    edit(&Path::new("/proc/self/fd").join(root.as_raw_fd().to_string()));
}

#[test]
fn conforms() {
    for layout in ALL {
        if laid_out(layout).is_some() {
            conformance::suite(|| laid_out(layout).unwrap(), &inside_mount);
        }
    }
}

/// Every way to keep layers.
pub(super) const ALL: [Layout; 3] =
    [Layout::Mounted(Backing::File), Layout::Mounted(Backing::Loop), Layout::Unpacked];

#[test]
fn a_new_process_finds_everything_and_removes_what_is_half_done() {
    let Some(one) = temporary() else { return };
    let (diff, bytes) = tar(&[file("a", "1")]);
    let layer = one.store.unpack(None, &diff, &mut &bytes[..]).unwrap();
    one.store.prepare("key", Some(&layer.chain_id)).unwrap();
    let half_done = one.dir.path().join("t/99/fs");
    std::fs::create_dir_all(&half_done).unwrap();
    let two =
        DiskSnapshots::open(one.dir.path(), one.records.clone(), Layout::Unpacked, Arc::default()).unwrap();
    two.recover().unwrap();
    assert!(!half_done.exists());
    assert_eq!(two.keys().unwrap(), ["key"]);
    assert_eq!(two.root("key").unwrap(), one.store.root("key").unwrap());
    let number = two.next.load(Ordering::Relaxed);
    assert_eq!(number, 100, "numbers are not used twice");
    assert_eq!(conformance::content(&two, Tree::Layer(&layer.chain_id))["a"].1, b"1");
}

#[test]
fn failures_leave_no_directory() {
    ALL.into_iter().filter_map(laid_out).for_each(failures_of);
}

fn failures_of(store: Temporary) {
    let (diff, bytes) = tar(&[file("a", "1"), file("../b", "")]);
    store.store.unpack(None, &diff, &mut &bytes[..]).unwrap_err();
    store.store.unpack(None, &DiffId(Digest::sha256(b"x")), &mut &bytes[..512]).unwrap_err();
    assert_eq!(std::fs::read_dir(store.dir.path().join("t")).unwrap().count(), 0);
}

#[test]
#[ignore = "prints times; run by hand with WHARF_TEST_TAR=file.tar"]
fn unpack_time() {
    let Some(store) = temporary() else { return };
    let path = std::env::var("WHARF_TEST_TAR").unwrap();
    let diff = DiffId(Digest::of_stream(File::open(&path).unwrap(), &Digest::sha256(b"")).unwrap());
    let start = std::time::Instant::now();
    let layer = store.store.unpack(None, &diff, &mut File::open(&path).unwrap()).unwrap();
    println!("unpack: {:?} for {} bytes of files", start.elapsed(), layer.size);
    let start = std::time::Instant::now();
    store.store.prepare("key", Some(&layer.chain_id)).unwrap();
    println!("prepare: {:?}", start.elapsed());
}

#[test]
fn received_layers_wait_for_their_place_and_are_on_the_disk_once() {
    for store in
        [Layout::Mounted(Backing::File), Layout::Mounted(Backing::Loop)].into_iter().filter_map(laid_out)
    {
        let store_ref = &store.store;
        let (diff, bytes) = tar(&[file("a", "1")]);
        let (top, top_bytes) = tar(&[file("b", "2")]);
        let above = store_ref.receive(&top, &mut &top_bytes[..]).unwrap().unwrap();
        let below = store_ref.receive(&diff, &mut &bytes[..]).unwrap().unwrap();
        let refused = store_ref.receive(&diff, &mut &top_bytes[..]).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "whoever names a layer has to have it");
        let same = store_ref.receive(&diff, &mut &bytes[..]).unwrap().unwrap();
        assert!(store_ref.layers().unwrap().is_empty());
        let bottom = store_ref.place(None, &below).unwrap();
        let layer = store_ref.place(Some(&bottom.chain_id), &above).unwrap();
        let again = store_ref.place(Some(&layer.chain_id), &same).unwrap();
        assert_eq!(conformance::content(store_ref, Tree::Layer(&layer.chain_id)).len(), 3);
        store_ref.ready(&again.chain_id).unwrap();
        assert_eq!(store_ref.view(&again.chain_id).unwrap().len(), 1, "one index shows all of them");
        let inode = |layer: &Layer| {
            let tree = store_ref.state().layers[&layer.chain_id].tree;
            std::fs::metadata(store_ref.tree(tree).join("tar")).unwrap().ino()
        };
        assert_eq!(inode(&bottom), inode(&again));
        // What is dropped before it has a place leaves nothing.
        let count = || std::fs::read_dir(store.dir.path().join("t")).unwrap().count();
        let before = count();
        let (other, other_bytes) = tar(&[file("c", "3")]);
        let waiting = store_ref.receive(&other, &mut &other_bytes[..]).unwrap().unwrap();
        assert_eq!(count(), before + 1);
        drop(waiting);
        assert_eq!(count(), before);
    }
}

#[test]
fn a_committed_layer_becomes_its_tar() {
    for store in
        [Layout::Mounted(Backing::File), Layout::Mounted(Backing::Loop)].into_iter().filter_map(laid_out)
    {
        let store_ref = &store.store;
        let (diff, bytes) = tar(&[dir("d"), file("d/a", "1"), file("d/b", "1")]);
        let base = store_ref.unpack(None, &diff, &mut &bytes[..]).unwrap();
        let mount = store_ref.prepare("key", Some(&base.chain_id)).unwrap();
        inside_mount(&mount, &mut |root| {
            std::fs::write(root.join("d/new"), "2").unwrap();
            std::fs::remove_file(root.join("d/a")).unwrap();
        });
        let path = store.dir.path().join("blob");
        let layer = store_ref.commit("key", &mut File::create(&path).unwrap()).unwrap();
        let shown = |names: &[&str]| {
            let content = conformance::content(store_ref, Tree::Layer(&layer.chain_id));
            assert_eq!(content.keys().filter(|n| !n.is_empty()).collect::<Vec<_>>(), names);
        };
        shown(&["d", "d/b", "d/new"]);
        store_ref.settle(&layer.chain_id, &File::open(&path).unwrap()).unwrap();
        shown(&["d", "d/b", "d/new"]);
        let settled = store_ref.layer(&layer.chain_id).unwrap().unwrap();
        assert_eq!(settled.tar, Some(path.metadata().unwrap().len()));
        assert_eq!(path.metadata().unwrap().nlink(), 2, "its content is on the disk once");
        // The same after a start of the engine, and of the machine: indexes are made again.
        std::fs::write(store.dir.path().join("boot"), "another").unwrap();
        let again =
            DiskSnapshots::open(store.dir.path(), store.records.clone(), store_ref.layout, Arc::default())
                .unwrap();
        again.recover().unwrap();
        assert_eq!(conformance::content(&again, Tree::Layer(&layer.chain_id)).len(), 4);
    }
}

#[test]
fn both_kinds_of_layers_lie_on_each_other() {
    let Some(store) = laid_out(Layout::Mounted(Backing::File)) else { return };
    let unpacked =
        DiskSnapshots::open(store.dir.path(), store.records.clone(), Layout::Unpacked, Arc::default())
            .unwrap();
    let (diff, bytes) = tar(&[dir("d"), file("d/a", "1"), file("e", "1"), dir("f"), file("f/g", "")]);
    let bottom = unpacked.unpack(None, &diff, &mut &bytes[..]).unwrap();
    drop(unpacked);
    let mounted =
        DiskSnapshots::open(store.dir.path(), store.records.clone(), store.store.layout, Arc::default())
            .unwrap();
    let (diff, bytes) =
        tar(&[file("d/.wh.a", ""), file("d/b", "2"), file(".wh.e", ""), file("f", "file"), file("h", "")]);
    let middle = mounted.unpack(Some(&bottom.chain_id), &diff, &mut &bytes[..]).unwrap();
    let (diff, bytes) = tar(&[file(".wh.h", ""), dir("f"), file("f/new", "")]);
    let top = mounted.unpack(Some(&middle.chain_id), &diff, &mut &bytes[..]).unwrap();
    mounted.ready(&top.chain_id).unwrap();
    assert_eq!(mounted.view(&top.chain_id).unwrap().len(), 3);
    let content = conformance::content(&mounted, Tree::Layer(&top.chain_id));
    assert_eq!(content.keys().filter(|n| !n.is_empty()).collect::<Vec<_>>(), ["d", "d/b", "f", "f/new"]);
}

#[test]
fn what_a_layer_hides_of_the_one_below_is_not_listed() {
    for store in ALL.into_iter().filter_map(laid_out) {
        let put = |parent: Option<&Layer>, entries: &[(wharf_oci::tar::Entry, &[u8])]| {
            let (diff, bytes) = tar(entries);
            store.store.unpack(parent.map(|p| &p.chain_id), &diff, &mut &bytes[..]).unwrap()
        };
        let bottom = put(None, &[dir("bin")]);
        // It gets an index of its own.
        store.store.view(&bottom.chain_id).unwrap();
        let middle = put(Some(&bottom), &[dir("e"), dir("e/f"), file("e/f/g", "")]);
        let top = put(Some(&middle), &[dir("e"), file("e/.wh.f", "")]);
        for _ in 0..2 {
            let root = store.store.merged(Tree::Layer(&top.chain_id)).unwrap();
            let e = inside::open(&root, b"e", rustix::fs::OFlags::RDONLY).unwrap();
            assert_eq!(inside::names(&e).unwrap(), [b""; 0]);
            store.store.ready(&top.chain_id).unwrap();
        }
    }
}

#[test]
fn small_archives_take_no_great_trees() {
    let Some(store) = laid_out(Layout::Mounted(Backing::File)) else { return };
    let name = |n: usize| format!("{n}/{}f", "a/".repeat(2000));
    let entries: Vec<_> = (0..510)
        .map(|n| (wharf_oci::tar::Entry::new(wharf_oci::tar::Kind::File, name(n)), &b""[..]))
        .collect();
    let (diff, bytes) = tar(&entries);
    let error = store.store.unpack(None, &diff, &mut &bytes[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.full());
    assert_eq!(std::fs::read_dir(store.dir.path().join("t")).unwrap().count(), 0);
}

#[test]
fn a_tar_that_ends_early_is_not_taken_from_a_file() {
    let Some(store) = laid_out(Layout::Mounted(Backing::File)) else { return };
    let (_, bytes) = tar(&[file("a", "content")]);
    let path = store.dir.path().join("blob");
    std::fs::write(&path, &bytes[..512]).unwrap();
    let diff = DiffId(Digest::sha256(&bytes[..512]));
    let error = store.store.adopt(&diff, &File::open(&path).unwrap()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.full());
}

#[test]
fn an_index_that_is_replaced_holds_nothing() {
    let Some(store) = laid_out(Layout::Mounted(Backing::File)) else { return };
    let (diff, bytes) = tar(&[file("a", "1")]);
    let bottom = store.store.unpack(None, &diff, &mut &bytes[..]).unwrap();
    let mounts = &store.store.mounts;
    mounts.get(&store.store.view(&bottom.chain_id).unwrap()[0]).unwrap();
    let (diff, bytes) = tar(&[file("b", "1")]);
    let top = store.store.unpack(Some(&bottom.chain_id), &diff, &mut &bytes[..]).unwrap();
    for path in store.store.view(&top.chain_id).unwrap() {
        mounts.get(&path).unwrap();
    }
    store.store.ready(&top.chain_id).unwrap();
    mounts.get(&store.store.view(&top.chain_id).unwrap()[0]).unwrap();
    store.store.remove_layer(&top.chain_id).unwrap();
    store.store.remove_layer(&bottom.chain_id).unwrap();
    assert_eq!(mounts.len(), 0);
    assert_eq!(std::fs::read_dir(store.dir.path().join("e")).unwrap().count(), 0);
}
