//! Verbs about plugins, of which this engine has none.

pub(super) mod ls;
