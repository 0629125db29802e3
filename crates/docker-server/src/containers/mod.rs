//! `/containers` and `/exec`.

pub(crate) mod archive;
pub(crate) mod attach;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod endpoints;
pub(crate) mod exec;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod logs;
mod ps;
pub(crate) mod stats;
pub(crate) mod top;
pub(crate) mod wait;
