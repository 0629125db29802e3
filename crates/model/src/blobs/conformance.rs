//! What every implementation of [`Blobs`] does. Panics say what does not hold.
#![allow(clippy::unwrap_used, missing_docs)]

use super::Blobs;
use crate::error::ErrorKind;
use std::io::{Read, Write};
use wharf_oci::digest::Digest;

/// Runs every case, each on a fresh store.
pub fn suite<B: Blobs>(make: impl Fn() -> B) {
    whole_blobs(&make());
    wrong_digests(&make());
    resuming(&make());
    dropped_ingests(&make());
    other_algorithms(&make());
    adopted(&make());
    concurrent_puts(&make());
}

fn read(blobs: &dyn Blobs, digest: &Digest) -> Vec<u8> {
    let mut content = Vec::new();
    blobs.open(digest).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn whole_blobs(blobs: &dyn Blobs) {
    let digest = Digest::sha256(b"hello");
    assert_eq!(blobs.size(&digest).unwrap(), None);
    assert_eq!(blobs.open(&digest).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(blobs.put(b"hello").unwrap(), digest);
    assert_eq!(blobs.put(b"hello").unwrap(), digest);
    assert_eq!(read(blobs, &digest), b"hello");
    assert_eq!(blobs.list().unwrap(), vec![(digest.clone(), 5)]);
    let mut ingest = blobs.ingest("again").unwrap();
    ingest.write_all(b"hello").unwrap();
    assert_eq!(ingest.commit(None).unwrap(), digest, "a blob that is there may be written again");
    blobs.remove(&digest).unwrap();
    blobs.remove(&digest).unwrap();
    assert!(blobs.list().unwrap().is_empty());
}

fn wrong_digests(blobs: &dyn Blobs) {
    let (promised, real) = (Digest::sha256(b"good"), Digest::sha256(b"evil"));
    let mut ingest = blobs.ingest("x").unwrap();
    ingest.write_all(b"evil").unwrap();
    let error = ingest.commit(Some(&promised)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.full();
    assert!(text.contains(promised.as_str()) && text.contains(real.as_str()), "both are named: {text}");
    assert_eq!(blobs.size(&promised).unwrap(), None);
    assert_eq!(blobs.size(&real).unwrap(), None);
    assert_eq!(blobs.ingest("x").unwrap().offset(), 0, "what was wrong is thrown away");
}

fn resuming(blobs: &dyn Blobs) {
    let mut first = blobs.ingest("layer/../1").unwrap();
    first.write_all(b"abc").unwrap();
    assert_eq!(first.offset(), 3);
    let mut early = Vec::new();
    let mut reader = first.reader().unwrap();
    reader.read_to_end(&mut early).unwrap();
    assert_eq!(early, b"abc");
    first.write_all(b"d").unwrap();
    reader.read_to_end(&mut early).unwrap();
    assert_eq!(early, b"abcd", "a reader follows what is written");
    assert_eq!(blobs.ingest("layer/../1").err().unwrap().kind(), ErrorKind::Conflict);
    first.keep().unwrap();
    let mut second = blobs.ingest("layer/../1").unwrap();
    assert_eq!(second.offset(), 4);
    second.write_all(b"ef").unwrap();
    assert_eq!(second.commit(Some(&Digest::sha256(b"abcdef"))).unwrap(), Digest::sha256(b"abcdef"));
    let mut third = blobs.ingest("layer/../1").unwrap();
    assert_eq!(third.offset(), 0);
    third.write_all(b"junk").unwrap();
    third.restart().unwrap();
    assert_eq!(third.offset(), 0);
    third.write_all(b"new").unwrap();
    assert_eq!(third.commit(None).unwrap(), Digest::sha256(b"new"));
}

fn dropped_ingests(blobs: &dyn Blobs) {
    let mut ingest = blobs.ingest("gone").unwrap();
    ingest.write_all(b"abc").unwrap();
    drop(ingest);
    assert_eq!(blobs.ingest("gone").unwrap().offset(), 0);
    assert!(blobs.list().unwrap().is_empty());
}

fn other_algorithms(blobs: &dyn Blobs) {
    let digest = Digest::sha512(b"hello");
    let mut ingest = blobs.ingest("x").unwrap();
    ingest.write_all(b"hello").unwrap();
    assert_eq!(ingest.commit(Some(&digest)).unwrap(), digest);
    assert_eq!(read(blobs, &digest), b"hello");
    assert_eq!(blobs.list().unwrap(), vec![(digest, 5)]);
}

fn adopted(blobs: &dyn Blobs) {
    let digest = blobs.put(b"adopted").unwrap();
    let own = blobs.open(&digest).unwrap();
    blobs.adopt(&digest, &own).unwrap();
    assert_eq!(read(blobs, &digest), b"adopted", "its own file stays as it is");
    blobs.remove(&digest).unwrap();
    blobs.adopt(&digest, &own).unwrap();
    assert_eq!(read(blobs, &digest), b"adopted");
    let mut other = tempfile::tempfile().unwrap();
    other.write_all(b"adopted").unwrap();
    blobs.adopt(&digest, &other).unwrap();
    assert_eq!(read(blobs, &digest), b"adopted");
    assert_eq!(blobs.list().unwrap().len(), 1);
}

fn concurrent_puts(blobs: &dyn Blobs) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(blobs.put(b"same").unwrap(), Digest::sha256(b"same")));
        }
    });
    assert_eq!(blobs.list().unwrap().len(), 1);
}
