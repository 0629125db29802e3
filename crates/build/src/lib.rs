//! Dockerfile → stages → images: the parser, the build context and the executor.
//!
//! The executor works on the seams alone: images and snapshots, and a [`StepRunner`] that runs commands.
#![forbid(unsafe_code)]

pub mod caches;
mod changes;
pub mod context;
pub mod dockerfile;
mod ending;
pub mod executor;
pub mod ignore;
pub mod pattern;
pub mod remote;
pub mod session;

pub use bytes::Bytes;
pub use changes::apply_changes;
pub use context::Context;
pub use ending::Ending;
pub use executor::{
    Builder, CredentialsFor, NamedContext, Options, Output, Sink, Step, StepNews, StepRunner, Stream,
};
pub use session::{Connection, Duplex, NoSession, Session};
