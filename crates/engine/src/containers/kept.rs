//! A running container's records, kept a second time in its run directory: damaged records lose no running container.

use serde::{Deserialize, Serialize};
use std::path::Path;
use wharf_model::container::ContainerRecord;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::{ContainerId, Error, ErrorKind, Result};

/// The file in the run directory.
const FILE: &str = "records.json";

/// What a container's record refers to. Layers lead to those below them.
const KINDS: [RecordKind; 5] =
    [RecordKind::Container, RecordKind::Snapshot, RecordKind::Layer, RecordKind::Volume, RecordKind::Network];

/// More layers than an image may have.
const MAX_LAYERS: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Document {
    kind: String,
    id: String,
    body: serde_json::Value,
}

/// The one field of snapshots and layers that matters here.
#[derive(Deserialize)]
struct Parent {
    parent: Option<String>,
}

impl super::Collaborators {
    /// Writes the file of a container that is about to run.
    pub(super) fn keep_beside(&self, record: &ContainerRecord) -> Result<()> {
        let mut documents = Vec::new();
        let id = record.id.as_str();
        let body = serde_json::to_value(record)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the container's record", e))?;
        documents.push(Document { kind: RecordKind::Container.as_str().to_owned(), id: id.to_owned(), body });
        let mut next = self.document(RecordKind::Snapshot, id, &mut documents)?;
        for _ in 0..MAX_LAYERS {
            let Some(layer) = next else { break };
            next = self.document(RecordKind::Layer, &layer, &mut documents)?;
        }
        for mount in record.mounts.iter().filter(|m| m.kind == "volume" && !m.name.is_empty()) {
            self.document(RecordKind::Volume, &mount.name, &mut documents)?;
        }
        for (_, endpoint) in &record.endpoints {
            self.document(RecordKind::Network, &endpoint.network.to_string(), &mut documents)?;
        }
        let bytes = serde_json::to_vec(&documents)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the container's records", e))?;
        let path = self.launcher.run_directory(&record.id).join(FILE);
        std::fs::write(&path, bytes)
            .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))
    }

    /// Adds a document, if it is there; returns what it names as its parent.
    fn document(&self, kind: RecordKind, id: &str, documents: &mut Vec<Document>) -> Result<Option<String>> {
        let Some(body) = self.records.get(kind, id)? else { return Ok(None) };
        let unreadable =
            |e| Error::wrap(ErrorKind::Internal, format!("read the record of {} {id}", kind.as_str()), e);
        let body: serde_json::Value = serde_json::from_slice(&body).map_err(unreadable)?;
        let parent = Parent::deserialize(&body).map_or(None, |p| p.parent);
        documents.push(Document { kind: kind.as_str().to_owned(), id: id.to_owned(), body });
        Ok(parent)
    }
}

/// Records again what run directories below `directory` tell of containers that no record speaks of. To be called
/// before anything that removes what no record speaks of.
///
/// # Errors
/// When records cannot be written. A file that cannot be read is told of and left.
pub fn restore(records: &dyn Records, directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let file = entry.path().join(FILE);
        let Ok(bytes) = std::fs::read(&file) else { continue };
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<ContainerId>().ok()) else {
            continue;
        };
        if records.get(RecordKind::Container, id.as_str())?.is_some() {
            continue;
        }
        match serde_json::from_slice::<Vec<Document>>(&bytes) {
            Ok(documents) => restore_one(records, &id, documents)?,
            Err(e) => tracing::warn!("read {}: {e}", file.display()),
        }
    }
    Ok(())
}

fn restore_one(records: &dyn Records, id: &ContainerId, documents: Vec<Document>) -> Result<()> {
    tracing::warn!(container = %id, "its record was lost and is taken from its run directory");
    for Document { kind, id: key, mut body } in documents {
        let Some(kind) = KINDS.into_iter().find(|k| k.as_str() == kind) else { continue };
        if records.get(kind, &key)?.is_some() {
            continue;
        }
        let mut batch = Vec::new();
        if kind == RecordKind::Container {
            let name = body["name"].as_str().unwrap_or_default().to_owned();
            let is_free = records.holder(kind, &name)?.is_none_or(|holder| holder == key);
            let name = if is_free { name } else { format!("{name}-{}", id.short()) };
            body["name"] = name.clone().into();
            batch.push(Change::Claim { kind, name, id: key.clone() });
        }
        let body =
            serde_json::to_vec(&body).map_err(|e| Error::wrap(ErrorKind::Internal, "encode a record", e))?;
        batch.push(Change::Put { kind, id: key, body });
        records.commit(batch, Durability::Process)?;
    }
    Ok(())
}
