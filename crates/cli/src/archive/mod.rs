//! Tar archives on their way to and from an engine.

pub(crate) mod context;
pub(crate) mod extract;
pub(crate) mod ignore;
pub(crate) mod pack;
pub(crate) mod upload;
