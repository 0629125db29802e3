//! What can go wrong between a launch and the first instruction of the program.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a start had come. Decides the exit code of `docker run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Namespaces, cgroups, mounts, restrictions: exit code 125.
    Setup,
    /// The program does not exist: exit code 127.
    NotFound,
    /// The program exists and cannot be executed: exit code 126.
    NotExecutable,
}

/// A failure with the operation and the object of it in the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// How far it had come.
    pub stage: Stage,
    /// What failed, on what, and why.
    pub message: String,
}

/// Result of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of the set-up.
    pub fn setup(message: impl Into<String>) -> Self {
        Self { stage: Stage::Setup, message: message.into() }
    }
}

/// Bytes of a message that are passed on: with every byte escaped it still fits one message of a socket.
const MAX_MESSAGE: usize = 2048;

impl Error {
    /// The same failure in a message that is not longer than can be passed on.
    pub(crate) fn cut(mut self) -> Self {
        if self.message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|n| self.message.is_char_boundary(*n)).unwrap_or(0);
            self.message.truncate(end);
            self.message.push('…');
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Names the operation that failed.
pub(crate) trait Doing<T> {
    /// Turns the error into one that begins with `what`.
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::setup(format!("{what}: {e}")))
    }
}
