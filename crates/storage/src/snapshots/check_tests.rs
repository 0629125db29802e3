//! What is damaged is found and mended, under containers too.

use super::tests::{ALL, Temporary, laid_out};
use super::*;
use std::os::unix::fs::FileExt;
use std::process::Command;
use wharf_model::snapshots::conformance::{self, file, tar};
use wharf_oci::digest::Digest;

const TEXT: &str = "what was stored";

/// Two layers, the lower one with a sparse file, and the lower one's tar.
struct Made {
    store: Temporary,
    bottom: ChainId,
    top: ChainId,
    bytes: Vec<u8>,
}

fn sparse_tar(dir: &Path) -> Vec<u8> {
    std::fs::write(dir.join("plain"), TEXT).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    sparse.write_all_at(b"end", 1 << 20).unwrap();
    let done = Command::new("tar").args(["-S", "-cf", "../made.tar", "."]).current_dir(dir).status().unwrap();
    assert!(done.success());
    std::fs::read(dir.join("../made.tar")).unwrap()
}

fn made(layout: Layout) -> Option<Made> {
    let store = laid_out(layout)?;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("files");
    std::fs::create_dir(&dir).unwrap();
    let bytes = sparse_tar(&dir);
    let diff = DiffId(Digest::sha256(&bytes));
    let bottom = store.store.unpack(None, &diff, &mut &bytes[..]).unwrap().chain_id;
    let (diff, upper) = tar(&[file("above", "1")]);
    let top = store.store.unpack(Some(&bottom), &diff, &mut &upper[..]).unwrap().chain_id;
    store.store.ready(&top).unwrap();
    Some(Made { store, bottom, top, bytes })
}

impl Made {
    fn check(&self, chain: &ChainId) -> Condition {
        self.store.store.check(chain).unwrap()
    }

    fn path(&self, chain: &ChainId, name: &str) -> PathBuf {
        let tree = self.store.store.state().layers[chain].tree;
        self.store.store.tree(tree).join(name)
    }

    fn mend(&self, chain: &ChainId, tar: Option<&[u8]>) -> Result<()> {
        match tar {
            Some(mut bytes) => self.store.store.mend(chain, Some(&mut bytes)),
            None => self.store.store.mend(chain, None),
        }
    }

    fn is_sound(&self) {
        for chain in [&self.bottom, &self.top] {
            assert_eq!(self.check(chain), Condition::Sound);
        }
        let content = conformance::content(&self.store.store, Tree::Layer(&self.top));
        assert_eq!(content["plain"].1, TEXT.as_bytes());
        assert_eq!(&content["sparse"].1[1 << 20..], b"end");
        assert_eq!(content["above"].1, b"1");
    }
}

/// Changes some bytes of a file that are there.
fn spoil(path: &Path, find: &[u8]) {
    let content = std::fs::read(path).unwrap();
    let at = content.windows(find.len()).position(|w| w == find).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"X", at as u64).unwrap();
}

fn each_mounted(test: impl Fn(Made)) {
    ALL.into_iter().filter(|l| matches!(l, Layout::Mounted(_))).filter_map(made).for_each(test);
}

#[test]
fn content_is_mended_in_place() {
    each_mounted(|made| {
        made.is_sound();
        let path = made.path(&made.bottom, "tar");
        // An equal layer elsewhere has the same file.
        let diff = DiffId(Digest::sha256(&made.bytes));
        tars_are_synced(&made);
        let (other, bytes) = tar(&[file("below", "")]);
        let below = made.store.store.unpack(None, &other, &mut &bytes[..]).unwrap().chain_id;
        let twin = made.store.store.unpack(Some(&below), &diff, &mut &made.bytes[..]).unwrap().chain_id;
        spoil(&path, TEXT.as_bytes());
        for chain in [&made.bottom, &twin] {
            assert!(matches!(made.check(chain), Condition::Content(why) if why.contains("has the digest")));
        }
        assert_eq!(made.check(&made.top), Condition::Sound, "its own tar is");
        let wrong = made.mend(&made.bottom, Some(&made.bytes[..512])).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Invalid);
        assert!(matches!(made.check(&made.bottom), Condition::Content(_)));
        made.mend(&made.bottom, Some(&made.bytes)).unwrap();
        made.is_sound();
        assert_eq!(made.check(&twin), Condition::Sound);
    });
}

#[test]
fn many_may_check_and_mend_at_once() {
    each_mounted(|made| {
        let side = made.path(&made.bottom, "side");
        for _ in 0..8 {
            File::options().write(true).open(&side).unwrap().write_all_at(b"X", 1).unwrap();
            std::thread::scope(|scope| {
                for mends in [true, false, true, false] {
                    let made = &made;
                    scope.spawn(move || {
                        made.check(&made.bottom);
                        mends.then(|| made.mend(&made.bottom, None).unwrap());
                    });
                }
            });
            assert_eq!(made.check(&made.bottom), Condition::Sound);
        }
    });
}

fn tars_are_synced(made: &Made) {
    for chain in [&made.bottom, &made.top] {
        tars::sync(made.path(chain, "tar").parent().unwrap()).unwrap();
    }
}

#[test]
fn who_looks_later_sees_nothing_of_the_damage() {
    each_mounted(|made| {
        spoil(&made.path(&made.bottom, "tar"), TEXT.as_bytes());
        let seen = made.store.store.merged(Tree::Layer(&made.top)).unwrap();
        let file = inside::open(&seen, b"plain", rustix::fs::OFlags::RDONLY).unwrap();
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        assert_ne!(text, TEXT);
        made.mend(&made.bottom, Some(&made.bytes)).unwrap();
        made.is_sound();
    });
}

#[test]
fn what_is_gone_comes_back() {
    each_mounted(|made| {
        std::fs::remove_file(made.path(&made.bottom, "tar")).unwrap();
        assert_eq!(made.check(&made.bottom), Condition::Content("its tar is gone".to_owned()));
        made.mend(&made.bottom, Some(&made.bytes)).unwrap();
        made.is_sound();
        std::fs::remove_dir_all(made.path(&made.bottom, "")).unwrap();
        assert!(matches!(made.check(&made.bottom), Condition::Content(_)));
        made.mend(&made.bottom, Some(&made.bytes)).unwrap();
        made.is_sound();
    });
    let Some(made) = made(Layout::Unpacked) else { return };
    assert_eq!(made.check(&made.bottom), Condition::Unverifiable);
    std::fs::remove_dir_all(made.path(&made.bottom, "fs")).unwrap();
    assert!(matches!(made.check(&made.bottom), Condition::Content(_)));
    made.mend(&made.bottom, Some(&made.bytes)).unwrap();
    assert_eq!(conformance::content(&made.store.store, Tree::Layer(&made.top))["plain"].1, TEXT.as_bytes());
}

#[test]
fn what_is_made_of_the_content_is_made_again() {
    each_mounted(|made| {
        let side = made.path(&made.bottom, "side");
        spoil(&side, b"end");
        assert!(matches!(made.check(&made.bottom), Condition::Derived(why) if why.contains("sparse")));
        made.mend(&made.bottom, None).unwrap();
        made.is_sound();
        // Where there should be nothing, too.
        let last = side.metadata().unwrap().len() - 1;
        File::options().write(true).open(&side).unwrap().write_all_at(b"X", last).unwrap();
        assert!(matches!(made.check(&made.bottom), Condition::Derived(_)));
        made.mend(&made.bottom, None).unwrap();
        made.is_sound();
        std::fs::remove_file(&side).unwrap();
        assert!(matches!(made.check(&made.bottom), Condition::Derived(_)));
        made.mend(&made.bottom, None).unwrap();
        made.is_sound();
        let index = made.store.store.view(&made.top).unwrap()[0].clone();
        std::fs::write(&index, b"").unwrap();
        assert_eq!(made.check(&made.top), Condition::Derived("its index is damaged".to_owned()));
        made.mend(&made.top, None).unwrap();
        made.is_sound();
    });
}

#[test]
fn layers_may_have_longer_digests() {
    each_mounted(|made| {
        let (_, bytes) = tar(&[file("a", "1")]);
        let diff = DiffId(Digest::sha512(&bytes));
        let layer = made.store.store.unpack(None, &diff, &mut &bytes[..]).unwrap();
        assert_eq!(made.check(&layer.chain_id), Condition::Sound);
        let wrong = DiffId(Digest::sha512(b"else"));
        assert_eq!(
            made.store.store.unpack(None, &wrong, &mut &bytes[..]).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    });
}
