//! The OCI runtime, the spawner and the container monitor: single-threaded, no async.
#![forbid(unsafe_code)]
