//! Removing and renaming volumes that nobody uses.

use super::record::Pending;
use super::{LONGEST_NAME, VolumeRecord, VolumeService, absent, check_name};
use crate::volumes::claims::Claims;
use std::sync::Arc;
use wharf_failpoint::failpoint;
use wharf_model::container::ContainerRecord;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_model::{ContainerId, Error, ErrorKind, Result};

/// Lists the containers there are. Asked when nobody can begin to use the volume.
pub type Users<'a> = &'a dyn Fn() -> Result<Vec<Arc<ContainerRecord>>>;

impl VolumeService {
    /// Removes a volume.
    ///
    /// # Errors
    /// `Conflict` when a container has it, running or not.
    pub fn remove(&self, name: &str, users: Users<'_>, force: bool) -> Result<()> {
        let record = {
            let claims = self.claims();
            let Some(record) = self.get(name)? else {
                return if force { Ok(()) } else { Err(absent(name)) };
            };
            unused("remove", name, &claims, users)?;
            let going = VolumeRecord { pending: Some(Pending::Remove), ..record.clone() };
            self.put(&going, Durability::Process)?;
            record
        };
        if let Err(e) = self.erase(name) {
            // It is seen again, with what is left of it, so that it can be removed when the reason is.
            self.restore(&record)?;
            self.put(&record, Durability::Process)?;
            return Err(e);
        }
        self.publish("destroy", name, &[]);
        Ok(())
    }

    /// The directory, then the record.
    pub(super) fn erase(&self, name: &str) -> Result<()> {
        self.store.remove(name)?;
        failpoint!("volume.emptied");
        let delete = Change::Delete { kind: RecordKind::Volume, id: name.to_owned() };
        self.records.commit(vec![delete], Durability::Process)
    }

    /// Removes an anonymous volume along with its container, unless another container has it too.
    pub(crate) fn remove_if_unused(&self, name: &str, container: &ContainerId) -> Result<()> {
        let others = || {
            let mut others = Vec::new();
            for (id, body) in self.records.list(RecordKind::Container)? {
                if id != container.as_str() {
                    let record: ContainerRecord = serde_json::from_slice(&body).map_err(|e| {
                        Error::wrap(ErrorKind::Internal, format!("read the record of container {id}"), e)
                    })?;
                    others.push(Arc::new(record));
                }
            }
            Ok(others)
        };
        // A creation that failed half-way claims it still.
        self.settle(container.as_str());
        match self.remove(name, &others, true) {
            Err(e) if e.kind() == ErrorKind::Conflict => Ok(()),
            other => other,
        }
    }

    /// Calls a volume otherwise, with its labels and options.
    ///
    /// # Errors
    /// `Conflict` when a container has it, running or not (its record names the volume), or the name is taken.
    pub fn rename(&self, name: &str, to: &str, users: Users<'_>) -> Result<VolumeRecord> {
        check_name("rename", to)?;
        let claims = self.claims();
        let old = self.inspect(name)?;
        if self.find(to)?.is_some() {
            return Err(Error::conflict(format!(
                "rename {name}: a volume with the name {to} exists already"
            )));
        }
        unused("rename", name, &claims, users)?;
        let mut new = VolumeRecord { name: to.to_owned(), anonymous: false, ..old.clone() };
        new.pending = Some(Pending::Rename { from: name.to_owned() });
        let delete = |name: &str| Change::Delete { kind: RecordKind::Volume, id: name.to_owned() };
        self.records.commit(vec![delete(name), self.change(&new)?], Durability::Power)?;
        failpoint!("rename.recorded");
        if let Err(e) = self.store.rename(name, to) {
            self.records.commit(vec![delete(to), self.change(&old)?], Durability::Power)?;
            return Err(e);
        }
        failpoint!("rename.moved");
        new.pending = None;
        self.put(&new, Durability::Process)?;
        failpoint!("rename.kept");
        self.publish("rename", to, &[("oldName", name)]);
        Ok(new)
    }

    /// Finishes or undoes what a crash left half-done. Before anything else.
    ///
    /// # Errors
    /// When the records cannot be read. A volume that cannot be mended keeps no engine from starting.
    pub fn recover(&self) -> Result<()> {
        for record in self.all()? {
            let name = record.name.clone();
            if let Err(e) = self.recover_one(record) {
                tracing::error!("volume {name} stays half-done until the next start: {}", e.full());
            }
        }
        Ok(())
    }

    fn recover_one(&self, mut record: VolumeRecord) -> Result<()> {
        if record.name.len() > LONGEST_NAME {
            // Of an engine that took any name: there has never been a directory, and never will be.
            tracing::warn!(
                "the record of a volume whose name no directory can have is dropped: {}",
                record.name
            );
            let delete = Change::Delete { kind: RecordKind::Volume, id: record.name };
            return self.records.commit(vec![delete], Durability::Process);
        }
        match record.pending.take() {
            Some(Pending::Make) => self.erase(&record.name),
            Some(Pending::Remove) => self.erase(&record.name).or_else(|e| {
                // As for whoever asked for the removal: it is seen again.
                self.put(&record, Durability::Process)?;
                Err(e)
            }),
            Some(Pending::Rename { from }) => {
                if self.store.path(&record.name).is_err() && self.store.path(&from).is_ok() {
                    self.store.rename(&from, &record.name)?;
                }
                self.restore(&record)?;
                self.put(&record, Durability::Process)
            }
            None => self.restore(&record),
        }
    }

    /// The directory of a volume that was recorded and not made yet.
    fn restore(&self, record: &VolumeRecord) -> Result<()> {
        match self.store.path(&record.name) {
            Err(e) if e.kind() == ErrorKind::NotFound => self.furnish(record),
            other => other.map(drop),
        }
    }
}

pub(super) fn unused(doing: &str, name: &str, claims: &Claims, users: Users<'_>) -> Result<()> {
    let in_use = |by: &str| Err(Error::conflict(format!("{doing} {name}: volume is in use - [{by}]")));
    if let Some(holder) = claims.holders(name).first() {
        return in_use(holder);
    }
    let users = users()?;
    let of: Vec<&str> = users
        .iter()
        .filter(|r| r.mounts.iter().any(|m| m.name == name && m.kind == "volume"))
        .map(|r| r.id.as_str())
        .collect();
    if of.is_empty() { Ok(()) } else { in_use(&of.join(", ")) }
}
