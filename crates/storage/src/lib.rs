//! Blobs, layers, snapshots, volumes and records on a local file system.
#![forbid(unsafe_code)]

pub mod blobs;
mod disk;
mod erofs;
mod janitor;
pub mod records;
pub mod root;
pub mod snapshots;
pub mod volumes;
