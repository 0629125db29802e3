//! Verbs about named engines.

pub(super) mod create;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod rm;
pub(super) mod show;
pub(super) mod switch;
