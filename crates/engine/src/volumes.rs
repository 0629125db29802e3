//! Volumes: by name, with labels, and who uses them.

mod claims;
mod content;
mod options;
mod record;
mod remove;

#[cfg(test)]
mod tests;

pub use record::VolumeRecord;
pub use remove::Users;

use crate::events::Events;
use crate::random;
use claims::Claims;
use options::{Source, source_of};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharf_failpoint::failpoint;
use wharf_model::container::ResolvedMount;
use wharf_model::ids::is_valid_name;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::volumes::Volumes;
use wharf_model::{ContainerId, Error, ErrorKind, Result};

/// The service.
pub struct VolumeService {
    store: Arc<dyn Volumes>,
    records: Arc<dyn Records>,
    events: Events,
    /// Running containers by the mounted volume that they use.
    held: Mutex<HashMap<String, HashSet<ContainerId>>>,
    /// Who is about to use which volume.
    claims: Mutex<Claims>,
}

/// One volume without its directory is no reason to show none at all.
fn or_gone<T: Default>(found: Result<T>) -> Result<T> {
    match found {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(T::default()),
        found => found,
    }
}

impl VolumeService {
    /// Volumes in a store.
    pub fn new(store: Arc<dyn Volumes>, records: Arc<dyn Records>, events: Events) -> Self {
        Self { store, records, events, held: Mutex::default(), claims: Mutex::default() }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a volume or finds the one that is there. Without a name it is anonymous.
    pub fn create(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        let claims = self.claims();
        if name.is_empty() {
            let name = ContainerId::from_bytes(random::bytes()?).to_string();
            return self.create_as(&claims, &name, true, labels, options);
        }
        self.create_as(&claims, name, false, labels, options)
    }

    fn create_as(
        &self,
        _locked: &MutexGuard<'_, Claims>,
        name: &str,
        anonymous: bool,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        check_name("create", name)?;
        source_of(&options).map_err(|e| Error::new(e.kind(), format!("create {name}: {}", e.full())))?;
        if let Some(existing) = self.find(name)? {
            return match existing.pending {
                // Somebody may have removed its directory.
                None => self.furnish(&existing).map(|()| existing),
                Some(_) => Err(Error::conflict(format!(
                    "create {name}: the volume is being made or removed: try again when that is done"
                ))),
            };
        }
        let record = VolumeRecord { anonymous, ..VolumeRecord::new(name, labels, options) };
        self.put(&record, Durability::Power)?;
        failpoint!("volume.recorded");
        if let Err(e) = self.furnish(&record) {
            // The first failure is what the caller must see; the next engine tries once more to make it.
            let _ = self.erase(name);
            return Err(e);
        }
        self.publish("create", name, &[]);
        Ok(record)
    }

    /// The volume's directory, with the owner that its options name.
    fn furnish(&self, record: &VolumeRecord) -> Result<()> {
        let ownership = match source_of(&record.options) {
            Ok(Source::Own(ownership)) => ownership,
            _ => Default::default(),
        };
        self.store.create(&record.name, &ownership).map(drop)
    }

    fn change(&self, record: &VolumeRecord) -> Result<Change> {
        let body = serde_json::to_vec(record)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the volume's record", e))?;
        Ok(Change::Put { kind: RecordKind::Volume, id: record.name.clone(), body })
    }

    fn put(&self, record: &VolumeRecord, durability: Durability) -> Result<()> {
        self.records.commit(vec![self.change(record)?], durability)
    }

    /// Tells who listens that a container that starts has a volume mounted.
    pub(crate) fn tell_mount(&self, mount: &ResolvedMount, container: &ContainerId) {
        let writable = if mount.read_write { "true" } else { "false" };
        let place = [("destination", mount.target.as_str()), ("read/write", writable), ("propagation", "")];
        self.publish("mount", &mount.name, &[&place[..], &[("container", container.as_str())]].concat());
    }

    /// The same of a container that ended.
    pub(crate) fn tell_unmount(&self, name: &str, container: &ContainerId) {
        self.publish("unmount", name, &[("container", container.as_str())]);
    }

    fn publish(&self, action: &str, name: &str, more: &[(&str, &str)]) {
        let attributes = [("driver", "local")].iter().chain(more);
        let attributes = attributes.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.events.publish("volume", action, name, attributes);
    }

    /// A record, also of a volume that is on its way in or out.
    fn find(&self, name: &str) -> Result<Option<VolumeRecord>> {
        self.records.get(RecordKind::Volume, name)?.map(|body| parsed(name, &body)).transpose()
    }

    fn get(&self, name: &str) -> Result<Option<VolumeRecord>> {
        Ok(self.find(name)?.filter(|record| record.pending.is_none()))
    }

    /// A volume's record.
    pub fn inspect(&self, name: &str) -> Result<VolumeRecord> {
        self.get(name)?.ok_or_else(|| absent(name))
    }

    fn all(&self) -> Result<Vec<VolumeRecord>> {
        self.records.list(RecordKind::Volume)?.into_iter().map(|(name, body)| parsed(&name, &body)).collect()
    }

    /// All volumes by name.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        Ok(self.all()?.into_iter().filter(|record| record.pending.is_none()).collect())
    }

    /// Finds or makes a volume for a container that is being created: its record and directory. Until
    /// [`VolumeService::settle`] nobody takes it away.
    pub(crate) fn provide(
        &self,
        name: &str,
        anonymous: bool,
        labels: BTreeMap<String, String>,
        container: &ContainerId,
    ) -> Result<(VolumeRecord, PathBuf)> {
        let record = {
            let mut claims = self.claims();
            let record = self.create_as(&claims, name, anonymous, labels, BTreeMap::new())?;
            claims.add(&record.name, container.as_str());
            record
        };
        self.mark_used(&record)?;
        let path = self.source(&record.name)?;
        Ok((record, path))
    }

    /// A container that is being created has another one's volume too.
    pub(crate) fn share(&self, name: &str, container: &ContainerId) -> Result<()> {
        let record = {
            let mut claims = self.claims();
            let record = self.inspect(name)?;
            claims.add(name, container.as_str());
            record
        };
        self.mark_used(&record)
    }

    /// The container's record says now what it uses, or it came to nothing.
    pub(crate) fn settle(&self, container: &str) {
        self.claims().settle(container);
    }

    fn mark_used(&self, record: &VolumeRecord) -> Result<()> {
        if record.unused_since_ns.is_none() {
            return Ok(());
        }
        self.put(&VolumeRecord { unused_since_ns: None, ..record.clone() }, Durability::Process)
    }

    /// Keeps since when no container has a volume.
    pub(crate) fn mark_unused(&self, name: &str, since_ns: i128, users: Users<'_>) -> Result<()> {
        let claims = self.claims();
        let Some(record) = self.get(name)? else { return Ok(()) };
        if remove::unused("mark", name, &claims, users).is_err() {
            return Ok(());
        }
        self.put(&VolumeRecord { unused_since_ns: Some(since_ns), ..record }, Durability::Process)
    }

    /// Whether an image's content may be copied into it. What is mounted later is another's.
    pub(crate) fn is_empty(&self, name: &str) -> Result<bool> {
        match source_of(&self.inspect(name)?.options)? {
            Source::Own(_) => self.store.is_empty(name),
            Source::Directory(path) => {
                Ok(std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()))
            }
            Source::Mount(_) => Ok(false),
        }
    }

    /// After an image's content was copied into it: the owner that was asked for counts, not the image's.
    pub(crate) fn own(&self, record: &VolumeRecord) -> Result<()> {
        match source_of(&record.options)? {
            Source::Own(ownership) => self.store.own(&record.name, &ownership),
            _ => Ok(()),
        }
    }

    /// Whether it shows a directory of the host.
    pub(crate) fn is_of_host(&self, record: &VolumeRecord) -> bool {
        matches!(source_of(&record.options), Ok(Source::Directory(_)))
    }

    /// A volume's directory; empty when somebody removed it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        or_gone(self.store.path(name))
    }

    /// What containers mount: the volume's directory, or what its options name.
    pub(crate) fn source(&self, name: &str) -> Result<PathBuf> {
        match self.get(name)?.map(|record| source_of(&record.options)).transpose()? {
            Some(Source::Directory(path)) => Ok(path),
            _ => self.store.path(name),
        }
    }

    /// A container that is about to run needs a volume: it is mounted if its options say so.
    pub(crate) fn hold(&self, name: &str, container: &ContainerId) -> Result<()> {
        let record = self.inspect(name)?;
        match source_of(&record.options)? {
            Source::Own(_) => self.store.path(name).map(drop),
            Source::Directory(path) if path.is_dir() => Ok(()),
            Source::Directory(path) => Err(Error::internal(format!(
                "error while mounting volume '{}': failed to mount local volume: mount {}: no such directory",
                self.store.path(name)?.display(),
                path.display()
            ))),
            Source::Mount(what) => {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                self.store.mount(name, &what).map_err(|e| {
                    let path = self.store.path(name).unwrap_or_default();
                    Error::wrap(e.kind(), format!("error while mounting volume '{}'", path.display()), e)
                })?;
                held.entry(name.to_owned()).or_default().insert(container.clone());
                Ok(())
            }
        }
    }

    /// A container does not run any more. What nobody holds is unmounted.
    pub(crate) fn let_go(&self, name: &str, container: &ContainerId) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(holders) = held.get_mut(name) else { return Ok(()) };
        holders.remove(container);
        if !holders.is_empty() {
            return Ok(());
        }
        held.remove(name);
        self.store.unmount(name)
    }

    /// Unmounts what an earlier engine left for containers that do not run any more. Those that do hold theirs by then.
    pub(crate) fn sweep(&self) -> Result<()> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for record in self.list()? {
            let is_mount = matches!(source_of(&record.options), Ok(Source::Mount(_)));
            if is_mount && !held.contains_key(&record.name) {
                self.store.unmount(&record.name)?;
            }
        }
        Ok(())
    }

    /// Bytes of the files in a volume.
    pub fn size(&self, name: &str) -> Result<u64> {
        or_gone(self.store.size(name))
    }
}

fn absent(name: &str) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}

fn parsed(name: &str, body: &[u8]) -> Result<VolumeRecord> {
    serde_json::from_slice(body)
        .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read the record of volume {name}"), e))
}

/// Of a directory's name (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// In Docker's words.
fn check_name(doing: &str, name: &str) -> Result<()> {
    if name.len() < 2 {
        return Err(Error::invalid(format!(
            "{doing} {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    if name.len() > LONGEST_NAME {
        return Err(Error::invalid(format!(
            "{doing} {name}: volume name is too long, names should be at most {LONGEST_NAME} characters"
        )));
    }
    if !is_valid_name(name) {
        return Err(Error::invalid(format!(
            "{doing} {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    Ok(())
}
