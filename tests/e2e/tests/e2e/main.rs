//! End-to-end tests: the built binary on a real kernel, one module a subject.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod behind;
mod bombs;
mod build;
mod clients;
mod devices;
mod disk;
mod docker;
mod escape;
mod exec;
mod failpoints;
mod full;
mod gc;
mod health;
mod hung;
mod leaks;
mod links;
mod logging;
mod mounts;
mod netopts;
mod network;
mod oci;
mod parents;
mod ports;
mod prune;
mod records;
mod registry;
mod run;
mod security;
mod survive;
mod tcp;
mod terminal;
mod userns;
mod volumes;
mod volumes_more;
