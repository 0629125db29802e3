//! The unpacked implementation against the suite of its seam, and what is its own.

use super::*;
use std::os::fd::AsRawFd;
use wharf_model::records::fake::MemoryRecords;
use wharf_model::snapshots::conformance::{self, file, tar};

/// A store in a directory that goes with it.
pub(super) struct Temporary {
    pub(super) store: UnpackedSnapshots,
    pub(super) records: Arc<MemoryRecords>,
    pub(super) dir: tempfile::TempDir,
}

/// `None`, said aloud, without root: device nodes and trusted attributes need it.
pub(super) fn temporary() -> Option<Temporary> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: unpacking layers needs root");
        return None;
    }
    // Not in /tmp: overlayfs cannot lie on every tmpfs.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let records = Arc::new(MemoryRecords::default());
    let store = UnpackedSnapshots::open(dir.path(), records.clone()).unwrap();
    Some(Temporary { store, records, dir })
}

impl Snapshots for Temporary {
    fn unpack(&self, parent: Option<&ChainId>, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Layer> {
        self.store.unpack(parent, diff_id, tar)
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
    let root = merged::open(mount, scratch.path()).unwrap();
    edit(&Path::new("/proc/self/fd").join(root.as_raw_fd().to_string()));
}

#[test]
fn conforms() {
    if temporary().is_some() {
        conformance::suite(|| temporary().unwrap(), &inside_mount);
    }
}

#[test]
fn a_new_process_finds_everything_and_removes_what_is_half_done() {
    let Some(one) = temporary() else { return };
    let (diff, bytes) = tar(&[file("a", "1")]);
    let layer = one.store.unpack(None, &diff, &mut &bytes[..]).unwrap();
    one.store.prepare("key", Some(&layer.chain_id)).unwrap();
    let half_done = one.dir.path().join("t/99/fs");
    std::fs::create_dir_all(&half_done).unwrap();
    let two = UnpackedSnapshots::open(one.dir.path(), one.records.clone()).unwrap();
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
    let Some(store) = temporary() else { return };
    let (diff, bytes) = tar(&[file("a", "1"), file("../b", "")]);
    store.store.unpack(None, &diff, &mut &bytes[..]).unwrap_err();
    store
        .store
        .unpack(None, &DiffId(wharf_oci::digest::Digest::sha256(b"x")), &mut &bytes[..512])
        .unwrap_err();
    assert_eq!(std::fs::read_dir(store.dir.path().join("t")).unwrap().count(), 0);
}

#[test]
#[ignore = "prints times; run by hand with WHARF_TEST_TAR=file.tar"]
fn unpack_time() {
    let Some(store) = temporary() else { return };
    let path = std::env::var("WHARF_TEST_TAR").unwrap();
    let mut hash = HashingReader::new(std::fs::File::open(&path).unwrap());
    std::io::copy(&mut hash, &mut std::io::sink()).unwrap();
    let diff = DiffId(hash.finish());
    let start = std::time::Instant::now();
    let layer = store.store.unpack(None, &diff, &mut std::fs::File::open(&path).unwrap()).unwrap();
    println!("unpack: {:?} for {} bytes of files", start.elapsed(), layer.size);
    let start = std::time::Instant::now();
    store.store.prepare("key", Some(&layer.chain_id)).unwrap();
    println!("prepare: {:?}", start.elapsed());
}
