//! Removing a container: intent first, then everything it had, then its record.

use super::actor::Actor;
use super::blocking;
use wharf_model::container::ContainerRecord;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_model::state::Event;
use wharf_model::{Error, ErrorKind, Result};

impl Actor {
    /// Removes an ended container.
    pub(super) async fn remove(&mut self, volumes: bool) -> Result<()> {
        self.step(Event::Remove { force: true })?;
        self.commit()?;
        let shared = self.shared.clone();
        let record = self.record.clone();
        blocking(move || shared.erase(&record, volumes)).await?;
        self.shared.publish("destroy", &self.record, &[]);
        self.gone();
        Ok(())
    }
}

impl super::Collaborators {
    /// Removes all that a container had. Goes on after a failure, and reports the first; the record stays then,
    /// so that the removal can be repeated.
    pub(super) fn erase(&self, record: &ContainerRecord, volumes: bool) -> Result<()> {
        let directory = self.directory_of(&record.id);
        let mut results = vec![self.snapshots.remove(record.id.as_str()), remove_directory(&directory)];
        for mount in record.mounts.iter().filter(|m| volumes && m.anonymous) {
            results.push(self.volumes.remove_if_unused(&mount.name, &record.id));
        }
        results.into_iter().collect::<Result<Vec<()>>>()?;
        self.discard_record(record)
    }

    fn discard_record(&self, record: &ContainerRecord) -> Result<()> {
        let kind = RecordKind::Container;
        let changes = vec![
            Change::Delete { kind, id: record.id.to_string() },
            Change::Release { kind, name: record.name.clone() },
        ];
        self.records.commit(changes, Durability::Process)
    }

    /// Undoes a creation that failed half-way.
    pub(super) fn discard(&self, record: &ContainerRecord) -> Result<()> {
        self.erase(record, true)
    }
}

pub(super) fn remove_directory(directory: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::wrap(ErrorKind::Internal, format!("remove {}", directory.display()), e))
        }
        _ => Ok(()),
    }
}
