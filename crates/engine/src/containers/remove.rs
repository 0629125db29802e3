//! Removing a container: intent first, then everything it had, then its record.

use super::actor::Actor;
use super::blocking;
use std::path::PathBuf;
use wharf_failpoint::failpoint;
use wharf_model::container::ContainerRecord;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_model::state::Event;
use wharf_model::{Error, ErrorKind, Result};

impl Actor {
    /// Removes an ended container.
    pub(super) async fn remove(&mut self, volumes: bool) -> Result<()> {
        self.step(Event::Remove { force: true })?;
        self.record.takes_volumes = volumes;
        self.commit()?;
        failpoint!("remove.intent");
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
    /// so that the removal can be repeated. Its own files go behind the caller's back: without a record they are
    /// nobody's, and the next engine process removes what is left of them.
    pub(super) fn erase(&self, record: &ContainerRecord, volumes: bool) -> Result<()> {
        let mut results = vec![self.snapshots.remove(record.id.as_str())];
        failpoint!("remove.snapshot");
        for mount in record.mounts.iter().filter(|m| volumes && m.anonymous) {
            results.push(self.volumes.remove_if_unused(&mount.name, &record.id));
        }
        results.into_iter().collect::<Result<Vec<()>>>()?;
        failpoint!("remove.volumes");
        self.discard_record(record)?;
        failpoint!("remove.record");
        self.images.used(&record.image);
        remove_later(self.directory_of(&record.id));
        Ok(())
    }

    /// Removes the directories of containers that no record speaks of.
    pub(super) fn sweep_directories(&self, known: &[String]) -> Result<()> {
        let unreadable =
            |e| Error::wrap(ErrorKind::Internal, format!("list {}", self.directory.display()), e);
        for entry in std::fs::read_dir(&self.directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if !entry.file_name().to_str().is_some_and(|name| known.iter().any(|id| id == name)) {
                remove_later(entry.path());
            }
        }
        Ok(())
    }

    /// Removes the snapshots of no container: those that builds worked in when an engine ended.
    pub(super) fn sweep_snapshots(&self, known: &[String]) -> Result<()> {
        let keys = self.snapshots.keys()?;
        keys.iter().filter(|key| !known.contains(key)).try_for_each(|key| self.snapshots.remove(key))
    }

    fn discard_record(&self, record: &ContainerRecord) -> Result<()> {
        let kind = RecordKind::Container;
        let changes = vec![
            Change::Delete { kind, id: record.id.to_string() },
            Change::Release { kind, name: record.name.clone() },
        ];
        self.records.commit(changes, Durability::Process)
    }

    /// Undoes a creation that failed half-way, with the volumes it announced.
    pub(super) fn discard(&self, record: &ContainerRecord) -> Result<()> {
        let kept = self.records.get(RecordKind::Container, record.id.as_str())?;
        let kept = kept.and_then(|body| serde_json::from_slice::<ContainerRecord>(&body).ok());
        self.erase(kept.as_ref().unwrap_or(record), true)
    }
}

fn remove_later(directory: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(e) = remove_directory(&directory) {
            tracing::warn!("{}", e.full());
        }
    });
}

pub(super) fn remove_directory(directory: &std::path::Path) -> Result<()> {
    failpoint!("remove.directory");
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::wrap(ErrorKind::Internal, format!("remove {}", directory.display()), e))
        }
        _ => Ok(()),
    }
}
