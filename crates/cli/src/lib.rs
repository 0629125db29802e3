//! The commands, one file a verb.
#![forbid(unsafe_code)]
#![allow(dead_code)]

mod failure;
mod format;
mod parse;
mod template;
