//! Verbs about the engine and about things of any kind.

pub(super) mod completion;
pub(super) mod df;
pub(super) mod events;
pub(super) mod info;
pub(super) mod inspect;
mod json;
pub(super) mod login;
pub(super) mod logout;
pub(super) mod man;
pub(super) mod prune;
pub(super) mod version;
