//! The OCI runtime, the spawner and the container monitor: single-threaded, no async.
//!
//! ```text
//! daemon ──launch──▶ spawner ──fork──▶ monitor ──clone3──▶ init ──exec──▶ the container's program
//!    └───────────── monitor.sock: attach, exec, signal, resize ──┘
//! ```
//!
//! `init` is the part of a new container's first process that runs our code: it builds the root file system,
//! takes on identity and restrictions, and executes the program. The same code serves `wharf oci`.
#![forbid(unsafe_code)]

mod ahead;
pub mod bundle;
pub mod error;
pub mod hooks;
pub mod init;
pub mod launch;
pub mod monitor;
pub mod oci;
pub mod protocol;
pub mod reaper;
mod sealed;
pub mod spawner;
pub mod sysctl;
pub mod tenant;
pub mod userns;

pub use error::{Error, Result};
