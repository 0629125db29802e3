//! Blobs in memory, for tests of what stands on the seam.

use super::{Blobs, Ingest};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharf_oci::digest::Digest;

/// Blobs that end with the process.
#[derive(Default, Clone)]
pub struct MemoryBlobs(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    blobs: BTreeMap<Digest, Vec<u8>>,
    kept: BTreeMap<String, Vec<u8>>,
    active: BTreeSet<String>,
}

struct MemoryIngest {
    store: MemoryBlobs,
    name: String,
    content: Vec<u8>,
}

impl MemoryBlobs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs for MemoryBlobs {
    fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>> {
        let mut state = self.state();
        if !state.active.insert(name.to_owned()) {
            return Err(Error::conflict(format!("the ingest {name:?} is being written by another transfer")));
        }
        let content = state.kept.remove(name).unwrap_or_default();
        Ok(Box::new(MemoryIngest { store: self.clone(), name: name.to_owned(), content }))
    }

    fn open(&self, digest: &Digest) -> Result<File> {
        let state = self.state();
        let content = state.blobs.get(digest).ok_or_else(|| Error::not_found(format!("no blob {digest}")))?;
        let internal = |e| Error::wrap(ErrorKind::Internal, "write a temporary file", e);
        let mut file = tempfile::tempfile().map_err(internal)?;
        file.write_all(content).map_err(internal)?;
        file.rewind().map_err(internal)?;
        Ok(file)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.state().blobs.get(digest).map(|c| c.len() as u64))
    }

    fn remove(&self, digest: &Digest) -> Result<()> {
        self.state().blobs.remove(digest);
        Ok(())
    }

    fn list(&self) -> Result<Vec<(Digest, u64)>> {
        Ok(self.state().blobs.iter().map(|(d, c)| (d.clone(), c.len() as u64)).collect())
    }
}

impl Write for MemoryIngest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Ingest for MemoryIngest {
    fn offset(&self) -> u64 {
        self.content.len() as u64
    }

    fn restart(&mut self) -> Result<()> {
        self.content.clear();
        Ok(())
    }

    fn keep(mut self: Box<Self>) -> Result<()> {
        let content = std::mem::take(&mut self.content);
        self.store.state().kept.insert(self.name.clone(), content);
        Ok(())
    }

    fn commit(mut self: Box<Self>, expected: Option<&Digest>) -> Result<Digest> {
        let digest = match expected {
            Some(expected) if expected.algorithm() == "sha512" => Digest::sha512(&self.content),
            _ => Digest::sha256(&self.content),
        };
        if expected.is_some_and(|e| *e != digest) {
            return Err(super::mismatch(expected.unwrap_or(&digest), &digest));
        }
        let content = std::mem::take(&mut self.content);
        self.store.state().blobs.insert(digest.clone(), content);
        Ok(digest)
    }
}

impl Drop for MemoryIngest {
    fn drop(&mut self) {
        self.store.state().active.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn conforms() {
        super::super::conformance::suite(super::MemoryBlobs::default);
    }
}
