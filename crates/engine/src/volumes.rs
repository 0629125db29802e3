//! Volumes: by name, with labels, and who uses them.

use crate::clock::now_ns;
use crate::events::Events;
use crate::random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wharf_model::container::ContainerRecord;
use wharf_model::ids::is_valid_name;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::volumes::Volumes;
use wharf_model::{ContainerId, Error, ErrorKind, Result};

/// A volume with what only people look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver, as given.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub created_ns: i128,
    /// The engine made it without a name.
    pub anonymous: bool,
}

/// The service.
pub struct VolumeService {
    store: Arc<dyn Volumes>,
    records: Arc<dyn Records>,
    events: Events,
}

impl VolumeService {
    /// Volumes in a store.
    pub fn new(store: Arc<dyn Volumes>, records: Arc<dyn Records>, events: Events) -> Self {
        Self { store, records, events }
    }

    /// Makes a volume or finds the one that is there. Without a name it is anonymous.
    pub fn create(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        let anonymous = name.is_empty();
        let name =
            if anonymous { ContainerId::from_bytes(random::bytes()?).to_string() } else { name.to_owned() };
        if !is_valid_name(&name) {
            return Err(Error::invalid(format!(
                "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            )));
        }
        if let Some(key) = options.keys().next() {
            return Err(Error::unsupported(format!(
                "volume option {key:?} is not supported yet: local volumes without options are"
            )));
        }
        if let Some(existing) = self.get(&name)? {
            return Ok(existing);
        }
        let record = VolumeRecord { name: name.clone(), labels, options, created_ns: now_ns(), anonymous };
        let body = serde_json::to_vec(&record)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the volume's record", e))?;
        let put = Change::Put { kind: RecordKind::Volume, id: name.clone(), body };
        self.records.commit(vec![put], Durability::Power)?;
        self.store.create(&name)?;
        self.publish("create", &name);
        Ok(record)
    }

    fn publish(&self, action: &str, name: &str) {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events.publish("volume", action, name, attributes);
    }

    fn get(&self, name: &str) -> Result<Option<VolumeRecord>> {
        let body = self.records.get(RecordKind::Volume, name)?;
        let parse = |b: Vec<u8>| serde_json::from_slice(&b);
        body.map(parse)
            .transpose()
            .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read the record of volume {name}"), e))
    }

    /// A volume's record.
    pub fn inspect(&self, name: &str) -> Result<VolumeRecord> {
        self.get(name)?.ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
    }

    /// All volumes by name.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        let parse = |(name, body): (String, Vec<u8>)| {
            serde_json::from_slice(&body)
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read the record of volume {name}"), e))
        };
        self.records.list(RecordKind::Volume)?.into_iter().map(parse).collect()
    }

    /// Removes a volume. Whether a container uses it is the caller's to say.
    pub fn remove(&self, name: &str, users: &[Arc<ContainerRecord>], force: bool) -> Result<()> {
        if self.get(name)?.is_none() {
            return if force { Ok(()) } else { Err(Error::not_found(format!("get {name}: no such volume"))) };
        }
        if let Some(user) = users.iter().find(|r| r.mounts.iter().any(|m| m.name == name)) {
            return Err(Error::conflict(format!("remove {name}: volume is in use - [{}]", user.id)));
        }
        self.store.remove(name)?;
        let delete = Change::Delete { kind: RecordKind::Volume, id: name.to_owned() };
        self.records.commit(vec![delete], Durability::Process)?;
        self.publish("destroy", name);
        Ok(())
    }

    /// Finds or makes a volume for a container: its name and directory.
    pub(crate) fn provide(&self, name: &str, labels: BTreeMap<String, String>) -> Result<(String, PathBuf)> {
        let record = self.create(name, labels, BTreeMap::new())?;
        let path = self.store.path(&record.name)?;
        Ok((record.name, path))
    }

    pub(crate) fn is_anonymous(&self, name: &str) -> Result<bool> {
        Ok(self.get(name)?.is_some_and(|r| r.anonymous))
    }

    pub(crate) fn is_empty(&self, name: &str) -> Result<bool> {
        self.store.is_empty(name)
    }

    /// A volume's directory.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.store.path(name)
    }

    /// Bytes of the files in a volume.
    pub fn size(&self, name: &str) -> Result<u64> {
        self.store.size(name)
    }

    /// Removes an anonymous volume along with its container, unless another container has it too.
    pub(crate) fn remove_if_unused(&self, name: &str, container: &ContainerId) -> Result<()> {
        let mut others = Vec::new();
        for (id, body) in self.records.list(RecordKind::Container)? {
            if id != container.as_str() {
                let record: ContainerRecord = serde_json::from_slice(&body).map_err(|e| {
                    Error::wrap(ErrorKind::Internal, format!("read the record of container {id}"), e)
                })?;
                others.push(Arc::new(record));
            }
        }
        match self.remove(name, &others, true) {
            Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
            other => other,
        }
    }
}
