//! The commands, one file a verb.
//!
//! `main` reads the global flags, finds the verb, parses its flags and runs it on a single-threaded
//! runtime. Nothing is read or connected that the verb does not need.
#![forbid(unsafe_code)]

mod app;
mod archive;
mod buildkit;
mod complete;
mod config;
mod context;
mod failure;
mod flags;
mod format;
mod help;
mod image_ref;
mod parse;
mod stream;
mod template;
pub mod user;
mod verb;

pub use app::main;
pub use context::{Hooks, StartDaemon};
