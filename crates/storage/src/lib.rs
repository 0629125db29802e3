//! Blobs, layers, snapshots, volumes, records.
#![forbid(unsafe_code)]
