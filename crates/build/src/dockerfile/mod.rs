//! Dockerfiles: lines, instructions, stages (Docker's "Dockerfile reference").

mod instruction;
mod lines;
mod mount;
mod near;
mod stages;
mod words;

pub use instruction::{Command, Healthcheck, Instruction, Transfer};
pub use lines::Heredoc;
pub use mount::{MountKind, RunMount, Sharing};
pub use stages::{Dockerfile, Stage, Statement};
pub use words::{expand_word, expand_words};

/// Why a text is not a Dockerfile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("dockerfile parse error on line {line}: {why}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}
