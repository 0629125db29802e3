//! Uploads in pieces, for registries behind something that takes no larger ones (413).

use super::Repository;
use http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The first size that is tried. A piece of what is made while it is sent is in memory.
const FIRST: u64 = 8 << 20;
/// Smaller ones than this no registry is known to want: nginx takes a megabyte unless it is told otherwise.
const LEAST: u64 = 512 << 10;
/// Larger ones than this are not made, even where the registry names a larger least.
const MOST: u64 = 64 << 20;

/// The size that a registry takes, by the registry.
#[derive(Default)]
pub(super) struct Chunks(Mutex<HashMap<String, u64>>);

impl Repository {
    /// Bytes of a piece; `None` while all goes in one.
    pub(super) fn chunk(&self) -> Option<u64> {
        self.client.chunks.0.lock().unwrap_or_else(PoisonError::into_inner).get(&self.registry).copied()
    }

    /// Smaller pieces from now on; whether there are any.
    pub(super) fn shrink(&self, tried: Option<u64>, headers: &HeaderMap) -> bool {
        let least = headers.get("OCI-Chunk-Min-Length").and_then(|v| v.to_str().ok()?.parse().ok());
        let least: u64 = least.unwrap_or(LEAST);
        let next = tried.map_or(FIRST, |tried| tried / 2).max(least);
        if next > MOST || tried.is_some_and(|tried| next >= tried) {
            return false;
        }
        let mut chunks = self.client.chunks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = chunks.entry(self.registry.clone()).or_insert(next);
        *known = next.min(*known);
        true
    }
}
