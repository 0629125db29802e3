//! Standard streams, terminals and progress.

pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod stdin;
pub(crate) mod terminal;
