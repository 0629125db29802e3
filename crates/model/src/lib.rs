//! The domain: ids, container specification, port mappings, state machine, and the seams between subsystems.
//!
//! Everything here is a valid value: the edges (HTTP, command line, files) parse into these types once.
//! A seam is a trait with its vocabulary and promised error kinds in its documentation; each has a
//! conformance suite that every implementation runs.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod blobs;
pub mod container;
pub mod error;
pub mod health;
pub mod idmap;
pub mod ids;
pub mod launcher;
pub mod logging;
pub mod network;
pub mod ports;
pub mod records;
pub mod security;
pub mod snapshots;
pub mod state;
pub mod volumes;

pub use error::{Error, ErrorKind, Result};
pub use ids::{ContainerId, ExecId, NetworkId};
