//! What every implementation of [`Records`] does. Panics say what does not hold.
#![allow(clippy::unwrap_used, missing_docs)]

use super::{Change, Durability, RecordKind, Records};
use crate::error::ErrorKind;

/// Runs every case, each on a fresh store.
pub fn suite<R: Records>(make: impl Fn() -> R) {
    documents(&make());
    names(&make());
    batches_are_whole(&make());
    many_threads(&make());
}

fn put(kind: RecordKind, id: &str, body: &[u8]) -> Change {
    Change::Put { kind, id: id.into(), body: body.to_vec() }
}

fn claim(name: &str, id: &str) -> Change {
    Change::Claim { kind: RecordKind::Container, name: name.into(), id: id.into() }
}

fn documents(records: &dyn Records) {
    use RecordKind::{Container, Image};
    records.commit(vec![], Durability::Process).unwrap();
    assert_eq!(records.get(Container, "a").unwrap(), None);
    records
        .commit(vec![put(Container, "b", b"1"), put(Container, "a", b"\0\xff")], Durability::Power)
        .unwrap();
    records.commit(vec![put(Image, "a", b"other"), put(Container, "b", b"2")], Durability::Process).unwrap();
    assert_eq!(records.get(Container, "b").unwrap().unwrap(), b"2");
    let all = records.list(Container).unwrap();
    assert_eq!(
        all,
        vec![("a".into(), b"\0\xff".to_vec()), ("b".into(), b"2".to_vec())],
        "list is in order of id"
    );
    let gone = Change::Delete { kind: Container, id: "a".into() };
    records.commit(vec![gone.clone()], Durability::Process).unwrap();
    records.commit(vec![gone], Durability::Process).unwrap();
    assert_eq!(records.list(Container).unwrap().len(), 1);
    assert_eq!(records.get(Image, "a").unwrap().unwrap(), b"other", "kinds are apart");
}

fn names(records: &dyn Records) {
    use RecordKind::{Container, Network};
    records.commit(vec![claim("web", "1")], Durability::Process).unwrap();
    records.commit(vec![claim("web", "1")], Durability::Process).unwrap();
    assert_eq!(records.holder(Container, "web").unwrap().as_deref(), Some("1"));
    assert_eq!(records.holder(Network, "web").unwrap(), None);
    let error = records.commit(vec![claim("web", "2")], Durability::Process).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.full().contains('1'), "the holder is named: {}", error.full());
    let release = Change::Release { kind: Container, name: "web".into() };
    records.commit(vec![release.clone(), claim("web", "2")], Durability::Power).unwrap();
    assert_eq!(
        records.holder(Container, "web").unwrap().as_deref(),
        Some("2"),
        "a batch is applied in order"
    );
    records.commit(vec![release.clone(), release], Durability::Process).unwrap();
    assert_eq!(records.holder(Container, "web").unwrap(), None);
}

fn batches_are_whole(records: &dyn Records) {
    records.commit(vec![claim("taken", "1")], Durability::Process).unwrap();
    let batch = vec![put(RecordKind::Container, "x", b"x"), claim("free", "x"), claim("taken", "x")];
    records.commit(batch, Durability::Process).unwrap_err();
    assert_eq!(records.get(RecordKind::Container, "x").unwrap(), None);
    assert_eq!(records.holder(RecordKind::Container, "free").unwrap(), None);
}

fn many_threads(records: &dyn Records) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for n in 0..20 {
                    let id = format!("{thread}-{n}");
                    records.commit(vec![put(RecordKind::Container, &id, b"x")], Durability::Process).unwrap();
                    assert!(records.get(RecordKind::Container, &id).unwrap().is_some());
                }
            });
        }
    });
    assert_eq!(records.list(RecordKind::Container).unwrap().len(), 160);
}
