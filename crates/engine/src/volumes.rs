//! Volumes: by name, with labels, and who uses them.

use crate::clock::now_ns;
use crate::events::Events;
use crate::random;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use wharf_model::container::ContainerRecord;
use wharf_model::ids::is_valid_name;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::volumes::{VolumeMount, Volumes};
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
    /// Running containers by the mounted volume that they use.
    held: Mutex<HashMap<String, HashSet<ContainerId>>>,
}

/// What is in the place of a volume's own directory.
enum Source {
    /// A directory of the host.
    Directory(PathBuf),
    /// A file system that is mounted while a container uses it.
    Mount(VolumeMount),
}

/// What the options of the local driver mean, in Docker's words; nothing without any.
fn source_of(options: &BTreeMap<String, String>) -> Result<Option<Source>> {
    if options.is_empty() {
        return Ok(None);
    }
    let unknown = options.keys().find(|key| !matches!(key.as_str(), "type" | "device" | "o" | "size"));
    if let Some(key) = unknown {
        return Err(Error::invalid(format!("invalid option: {key:?}")));
    }
    if options.contains_key("size") {
        return Err(Error::invalid("quota size requested but no quota support"));
    }
    let of = |key: &str| options.get(key).map(String::as_str);
    let missing = |key: &str| Error::invalid(format!("missing required option: {key:?}"));
    let device = of("device").filter(|d| !d.is_empty()).ok_or_else(|| missing("device"))?;
    let kind = of("type").filter(|t| !t.is_empty()).ok_or_else(|| missing("type"))?;
    let listed = of("o").unwrap_or_default();
    if listed.split(',').any(|option| matches!(option, "bind" | "rbind")) {
        if !device.starts_with('/') {
            return Err(Error::invalid(format!("invalid device {device:?}: an absolute path is expected")));
        }
        return Ok(Some(Source::Directory(device.into())));
    }
    let (kind, device, options) = (kind.to_owned(), device.to_owned(), with_address(kind, listed)?);
    Ok(Some(Source::Mount(VolumeMount { kind, device, options })))
}

/// The kernel's NFS takes the server's address, not its name.
fn with_address(kind: &str, options: &str) -> Result<String> {
    if !kind.starts_with("nfs") && kind != "cifs" {
        return Ok(options.to_owned());
    }
    let resolved = options.split(',').map(|option| {
        let Some(host) = option.strip_prefix("addr=") else { return Ok(option.to_owned()) };
        if host.parse::<IpAddr>().is_ok() {
            return Ok(option.to_owned());
        }
        let found = (host, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
        let found = found.ok_or_else(|| Error::invalid(format!("error resolving {host}: no such host")))?;
        Ok(format!("addr={}", found.ip()))
    });
    Ok(resolved.collect::<Result<Vec<_>>>()?.join(","))
}

impl VolumeService {
    /// Volumes in a store.
    pub fn new(store: Arc<dyn Volumes>, records: Arc<dyn Records>, events: Events) -> Self {
        Self { store, records, events, held: Mutex::default() }
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
        if name.len() < 2 {
            return Err(Error::invalid(format!(
                "create {name}: volume name is too short, names should be at least two alphanumeric characters"
            )));
        }
        if !is_valid_name(&name) {
            return Err(Error::invalid(format!(
                "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            )));
        }
        source_of(&options)?;
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
        let path = self.source(&record.name)?;
        Ok((record.name, path))
    }

    pub(crate) fn is_anonymous(&self, name: &str) -> Result<bool> {
        Ok(self.get(name)?.is_some_and(|r| r.anonymous))
    }

    /// Whether an image's content may be copied into it. What is mounted later is another's.
    pub(crate) fn is_empty(&self, name: &str) -> Result<bool> {
        match source_of(&self.inspect(name)?.options)? {
            None => self.store.is_empty(name),
            Some(Source::Directory(path)) => {
                Ok(std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()))
            }
            Some(Source::Mount(_)) => Ok(false),
        }
    }

    /// A volume's directory.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.store.path(name)
    }

    /// What containers mount: the volume's directory, or what its options name.
    pub(crate) fn source(&self, name: &str) -> Result<PathBuf> {
        match self.get(name)?.map(|record| source_of(&record.options)).transpose()?.flatten() {
            Some(Source::Directory(path)) => Ok(path),
            _ => self.store.path(name),
        }
    }

    /// A container that is about to run needs a volume: it is mounted if its options say so.
    pub(crate) fn hold(&self, name: &str, container: &ContainerId) -> Result<()> {
        let record = self.inspect(name)?;
        match source_of(&record.options)? {
            None => self.store.path(name).map(drop),
            Some(Source::Directory(path)) if path.is_dir() => Ok(()),
            Some(Source::Directory(path)) => Err(Error::internal(format!(
                "error while mounting volume '{}': failed to mount local volume: mount {}: no such directory",
                self.store.path(name)?.display(),
                path.display()
            ))),
            Some(Source::Mount(what)) => {
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
            let is_mount = matches!(source_of(&record.options), Ok(Some(Source::Mount(_))));
            if is_mount && !held.contains_key(&record.name) {
                self.store.unmount(&record.name)?;
            }
        }
        Ok(())
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
