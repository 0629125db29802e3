//! Blobs in memory, for tests of what stands on the seam.

use super::{Blobs, Ingest};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharf_oci::digest::Digest;

/// Blobs that end with the process.
#[derive(Default, Clone)]
pub struct MemoryBlobs(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    blobs: BTreeMap<Digest, Vec<u8>>,
    kept: BTreeMap<String, File>,
    active: BTreeSet<String>,
}

struct MemoryIngest {
    store: MemoryBlobs,
    name: String,
    file: File,
    offset: u64,
}

fn failed(error: std::io::Error) -> Error {
    Error::wrap(ErrorKind::Internal, "use a temporary file", error)
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
        let file = match state.kept.remove(name) {
            Some(file) => file,
            None => tempfile::tempfile().map_err(failed)?,
        };
        let offset = file.metadata().map_err(failed)?.len();
        Ok(Box::new(MemoryIngest { store: self.clone(), name: name.to_owned(), file, offset }))
    }

    fn open(&self, digest: &Digest) -> Result<File> {
        let state = self.state();
        let content = state.blobs.get(digest).ok_or_else(|| Error::not_found(format!("no blob {digest}")))?;
        let mut file = tempfile::tempfile().map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(file)
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.state().blobs.get(digest).map(|c| c.len() as u64))
    }

    fn adopt(&self, digest: &Digest, mut file: &File) -> Result<()> {
        let mut content = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut content)).map_err(failed)?;
        self.state().blobs.insert(digest.clone(), content);
        Ok(())
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
        let n = self.file.write(bytes)?;
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Ingest for MemoryIngest {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn restart(&mut self) -> Result<()> {
        self.offset = 0;
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(failed)
    }

    fn reader(&self) -> Result<File> {
        // A file of its own position on the same content.
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd())).map_err(failed)
    }

    fn keep(self: Box<Self>) -> Result<()> {
        let file = self.file.try_clone().map_err(failed)?;
        self.store.state().kept.insert(self.name.clone(), file);
        Ok(())
    }

    fn commit(self: Box<Self>, expected: Option<&Digest>) -> Result<Digest> {
        let mut content = Vec::new();
        self.reader()?.read_to_end(&mut content).map_err(failed)?;
        let digest = match expected {
            Some(expected) if expected.algorithm() == "sha512" => Digest::sha512(&content),
            _ => Digest::sha256(&content),
        };
        if expected.is_some_and(|e| *e != digest) {
            return Err(super::mismatch(expected.unwrap_or(&digest), &digest));
        }
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
