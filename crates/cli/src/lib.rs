//! The commands, one file a verb.
#![forbid(unsafe_code)]
