//! Records in memory, for tests of what stands on the seam.

use super::{Change, Durability, RecordKind, Records};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Mutex;

type Key = (&'static str, String);

/// Records that end with the process.
#[derive(Default)]
pub struct MemoryRecords(Mutex<State>);

#[derive(Default, Clone)]
struct State {
    documents: BTreeMap<Key, Vec<u8>>,
    names: BTreeMap<Key, String>,
}

impl MemoryRecords {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Records for MemoryRecords {
    fn commit(&self, batch: Vec<Change>, _: Durability) -> Result<()> {
        let mut guard = self.state();
        let mut state = guard.clone();
        for change in batch {
            match change {
                Change::Put { kind, id, body } => drop(state.documents.insert((kind.as_str(), id), body)),
                Change::Delete { kind, id } => drop(state.documents.remove(&(kind.as_str(), id))),
                Change::Release { kind, name } => drop(state.names.remove(&(kind.as_str(), name))),
                Change::Claim { kind, name, id } => {
                    let holder =
                        state.names.entry((kind.as_str(), name.clone())).or_insert_with(|| id.clone());
                    if *holder != id {
                        return Err(Error::conflict(format!(
                            "the name {name:?} is already in use by {holder}"
                        )));
                    }
                }
            }
        }
        *guard = state;
        Ok(())
    }

    fn get(&self, kind: RecordKind, id: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.state().documents.get(&(kind.as_str(), id.to_owned())).cloned())
    }

    fn list(&self, kind: RecordKind) -> Result<Vec<(String, Vec<u8>)>> {
        let state = self.state();
        let found = state.documents.iter().filter(|((k, _), _)| *k == kind.as_str());
        Ok(found.map(|((_, id), body)| (id.clone(), body.clone())).collect())
    }

    fn holder(&self, kind: RecordKind, name: &str) -> Result<Option<String>> {
        Ok(self.state().names.get(&(kind.as_str(), name.to_owned())).cloned())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn conforms() {
        super::super::conformance::suite(super::MemoryRecords::default);
    }
}
