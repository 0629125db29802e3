//! Volumes against a store in memory, with crashes between the steps.

use super::record::Pending;
use super::*;
use std::io::{Read, Write};
use std::path::Path;
use wharf_model::container::{ContainerRecord, ContainerSpec, ResolvedMount};
use wharf_model::records::fake::MemoryRecords;
use wharf_model::volumes::{Ownership, VolumeMount};

/// Names alone; a name that begins with `broken` cannot be renamed to, `nowhere` cannot be made, `stuck` cannot be removed.
#[derive(Default)]
struct Store(Mutex<BTreeMap<String, Ownership>>);

impl Store {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Volumes for Store {
    fn create(&self, name: &str, ownership: &Ownership) -> Result<PathBuf> {
        if name == "nowhere" {
            return Err(Error::internal("the disk is on fire"));
        }
        self.0.lock().unwrap().entry(name.to_owned()).or_insert(*ownership);
        self.path(name)
    }
    fn path(&self, name: &str) -> Result<PathBuf> {
        let there = self.0.lock().unwrap().contains_key(name);
        if there { Ok(Path::new("/v").join(name)) } else { Err(absent(name)) }
    }
    fn remove(&self, name: &str) -> Result<()> {
        if name == "stuck" {
            return Err(Error::internal("the disk is on fire"));
        }
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        if to.starts_with("broken") {
            return Err(Error::internal("the disk is on fire"));
        }
        let mut all = self.0.lock().unwrap();
        let ownership = all.remove(from).ok_or_else(|| absent(from))?;
        all.insert(to.to_owned(), ownership);
        Ok(())
    }
    fn own(&self, _: &str, _: &Ownership) -> Result<()> {
        Ok(())
    }
    fn copy(&self, from: &Path, _: &str) -> Result<()> {
        if from.ends_with("unreadable") { Err(Error::internal("the disk is on fire")) } else { Ok(()) }
    }
    fn export(&self, _: &Path, _: &mut dyn Write) -> Result<()> {
        Ok(())
    }
    fn import(&self, _: &Path, tar: &mut dyn Read) -> Result<()> {
        let read = std::io::copy(tar, &mut std::io::sink()).unwrap_or_default();
        if read == 0 { Err(Error::invalid("no archive")) } else { Ok(()) }
    }
    fn list(&self) -> Result<Vec<String>> {
        Ok(self.names())
    }
    fn size(&self, _: &str) -> Result<u64> {
        Ok(0)
    }
    fn mount(&self, _: &str, _: &VolumeMount) -> Result<()> {
        Ok(())
    }
    fn unmount(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn is_empty(&self, _: &str) -> Result<bool> {
        Ok(true)
    }
}

struct Fixture {
    service: VolumeService,
    store: Arc<Store>,
}

fn fixture() -> Fixture {
    let store = Arc::new(Store::default());
    let records = Arc::new(MemoryRecords::default());
    Fixture { service: VolumeService::new(store.clone(), records, Events::default()), store }
}

fn id(number: u8) -> ContainerId {
    ContainerId::from_bytes([number; 32])
}

fn user(volume: &str) -> Arc<ContainerRecord> {
    let image = wharf_oci::digest::Digest::sha256(b"x");
    let mut record =
        ContainerRecord::new(id(7), "c1".into(), 0, ContainerSpec::default(), image, Default::default());
    record.mounts.push(ResolvedMount {
        kind: "volume".into(),
        name: volume.into(),
        source: PathBuf::new(),
        target: "/data".into(),
        read_write: true,
        options: Vec::new(),
        subpath: String::new(),
        image: None,
        of_host: false,
        anonymous: false,
        relabel: Default::default(),
    });
    Arc::new(record)
}

fn nobody() -> Result<Vec<Arc<ContainerRecord>>> {
    Ok(Vec::new())
}

fn made(f: &Fixture, name: &str) -> VolumeRecord {
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    f.service.create(name, labels, BTreeMap::from([("uid".to_owned(), "7".to_owned())])).unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_record_whose_name_no_directory_can_have_is_dropped() {
    let f = fixture();
    made(&f, "fine");
    let name = "x".repeat(LONGEST_NAME + 1);
    let record = VolumeRecord::new(&name, BTreeMap::new(), BTreeMap::new());
    f.service.put(&record, Durability::Process).unwrap();
    f.service.recover().unwrap();
    let left: Vec<String> = f.service.all().unwrap().into_iter().map(|r| r.name).collect();
    assert_eq!((left, f.store.names()), (vec!["fine".to_owned()], vec!["fine".to_owned()]));
}

#[test]
fn renaming_keeps_what_is_known() {
    let f = fixture();
    let old = made(&f, "old");
    made(&f, "taken");
    assert_eq!(kind(f.service.rename("old", "taken", &nobody)), ErrorKind::Conflict);
    assert_eq!(kind(f.service.rename("nope", "new", &nobody)), ErrorKind::NotFound);
    assert_eq!(kind(f.service.rename("old", "../new", &nobody)), ErrorKind::Invalid);
    assert_eq!(kind(f.service.rename("old", "new", &|| Ok(vec![user("old")]))), ErrorKind::Conflict);
    let new = f.service.rename("old", "new", &|| Ok(vec![user("other")])).unwrap();
    assert_eq!(new, VolumeRecord { name: "new".into(), ..old });
    assert_eq!(f.service.inspect("new").unwrap(), new);
    assert_eq!(f.store.names(), ["new", "taken"]);
    // A failure leaves everything as it was.
    assert_eq!(kind(f.service.rename("new", "broken", &nobody)), ErrorKind::Internal);
    assert_eq!(f.service.inspect("new").unwrap(), new);
    assert_eq!(kind(f.service.inspect("broken")), ErrorKind::NotFound);
}

#[test]
fn a_crash_between_record_and_directory_is_made_good() {
    let f = fixture();
    let record = made(&f, "one");
    // The record is renamed, the directory is not.
    let renamed = VolumeRecord {
        name: "two".into(),
        pending: Some(Pending::Rename { from: "one".into() }),
        ..record.clone()
    };
    let delete = Change::Delete { kind: RecordKind::Volume, id: "one".into() };
    let put = f.service.change(&renamed).unwrap();
    f.service.records.commit(vec![delete, put], Durability::Power).unwrap();
    // Half a clone, half a removal, a record without a directory.
    for (name, pending) in
        [("half", Some(Pending::Make)), ("gone", Some(Pending::Remove)), ("recorded", None)]
    {
        if name != "recorded" {
            f.store.create(name, &Ownership::default()).unwrap();
        }
        let record = VolumeRecord { name: name.into(), pending, ..record.clone() };
        f.service.put(&record, Durability::Process).unwrap();
    }
    assert_eq!(f.service.list().unwrap().len(), 1, "what is half-done is not shown");
    assert_eq!(kind(f.service.create("half", BTreeMap::new(), BTreeMap::new())), ErrorKind::Conflict);
    f.service.recover().unwrap();
    assert_eq!(f.store.names(), ["recorded", "two"]);
    assert_eq!(f.store.0.lock().unwrap()["recorded"].uid, Some(7));
    let names: Vec<_> = f.service.list().unwrap().into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["recorded", "two"]);
    // After the directory as well, before the last write.
    f.service.put(&VolumeRecord { name: "two".into(), ..renamed }, Durability::Process).unwrap();
    f.service.recover().unwrap();
    assert_eq!(f.service.inspect("two").unwrap(), VolumeRecord { name: "two".into(), ..record });
}

#[test]
fn who_is_about_to_use_a_volume_keeps_it() {
    let f = fixture();
    let (record, _) = f.service.provide("data", false, BTreeMap::new(), &id(1)).unwrap();
    let (anonymous, _) = f.service.provide("nameless", true, BTreeMap::new(), &id(1)).unwrap();
    assert!(anonymous.anonymous && !record.anonymous);
    for name in ["data", &anonymous.name] {
        assert_eq!(kind(f.service.remove(name, &nobody, true)), ErrorKind::Conflict);
        assert_eq!(kind(f.service.rename(name, "other", &nobody)), ErrorKind::Conflict);
    }
    f.service.settle(id(1).as_str());
    assert_eq!(kind(f.service.remove("data", &|| Ok(vec![user("data")]), true)), ErrorKind::Conflict);
    f.service.remove("data", &nobody, false).unwrap();
    assert_eq!(kind(f.service.remove("data", &nobody, false)), ErrorKind::NotFound);
    f.service.remove("data", &nobody, true).unwrap();
}

#[test]
fn unused_is_kept_until_it_is_used() {
    let f = fixture();
    made(&f, "data");
    f.service.mark_unused("data", 5, &|| Ok(vec![user("data")])).unwrap();
    assert_eq!(f.service.inspect("data").unwrap().unused_since_ns, None);
    f.service.mark_unused("data", 5, &nobody).unwrap();
    assert_eq!(f.service.inspect("data").unwrap().unused_since_ns, Some(5));
    f.service.share("data", &id(1)).unwrap();
    assert_eq!(f.service.inspect("data").unwrap().unused_since_ns, None);
}

#[test]
fn a_failed_copy_leaves_nothing() {
    let f = fixture();
    made(&f, "unreadable");
    made(&f, "good");
    assert_eq!(kind(f.service.clone_volume("unreadable", "copy")), ErrorKind::Internal);
    assert_eq!(kind(f.service.import("copy", &mut std::io::empty())), ErrorKind::Invalid);
    assert_eq!(kind(f.service.clone_volume("good", "unreadable")), ErrorKind::Conflict);
    assert_eq!(f.store.names(), ["good", "unreadable"]);
    let copy = f.service.clone_volume("good", "copy").unwrap();
    assert_eq!(copy.labels["a"], "b");
    assert_eq!(copy.options["uid"], "7");
    // Nobody holds anything any more.
    f.service.remove("good", &nobody, false).unwrap();
    f.service.import("other", &mut &b"tar"[..]).unwrap();
    f.service.remove("other", &nobody, false).unwrap();
}

#[test]
fn what_cannot_be_made_is_not_recorded() {
    let f = fixture();
    assert_eq!(kind(f.service.create("nowhere", BTreeMap::new(), BTreeMap::new())), ErrorKind::Internal);
    let long = "a".repeat(256);
    assert_eq!(kind(f.service.create(&long, BTreeMap::new(), BTreeMap::new())), ErrorKind::Invalid);
    assert_eq!(kind(f.service.import(&long, &mut &b"tar"[..])), ErrorKind::Invalid);
    assert!(f.service.list().unwrap().is_empty());
    f.service.recover().unwrap();
}

#[test]
fn what_cannot_be_removed_is_seen_and_keeps_no_engine_from_starting() {
    let f = fixture();
    let record = made(&f, "stuck");
    assert_eq!(kind(f.service.remove("stuck", &nobody, true)), ErrorKind::Internal);
    assert_eq!(f.service.inspect("stuck").unwrap(), record);
    // A crash in the middle of it, and a clone that cannot be undone.
    let pending = VolumeRecord { pending: Some(Pending::Remove), ..record.clone() };
    f.service.put(&pending, Durability::Process).unwrap();
    let nowhere = VolumeRecord { name: "nowhere".into(), ..record.clone() };
    f.service.put(&nowhere, Durability::Process).unwrap();
    f.service.recover().unwrap();
    assert_eq!(f.service.inspect("stuck").unwrap(), record);
}
