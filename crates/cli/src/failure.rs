//! Why a command failed, and with which exit status.

use crate::template::TemplateError;
use std::{fmt, io};
use wharf_docker_api::client;

/// The status of commands that failed.
pub(crate) const FAILED: i32 = 1;
/// The status of `run` and `exec` when the engine, not the container, failed; and of unknown flags.
pub(crate) const ENGINE_FAILED: i32 = 125;

/// The status of templates that do not parse.
const BAD_TEMPLATE: i32 = 64;

/// The end of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: i32,
    /// What the user reads; nothing when everything was said before.
    pub(crate) message: String,
}

/// Result of a command: its exit status.
pub(crate) type Outcome = Result<i32, Failure>;

impl Failure {
    /// A failure with status 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { status: FAILED, message: message.into() }
    }

    /// A failure with a status of its own.
    pub(crate) fn with_status(status: i32, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// A failed access to a file: what, where and why.
    pub(crate) fn file(what: &str, path: impl AsRef<std::path::Path>, error: &io::Error) -> Self {
        Self::new(format!("{what} {}: {error}", path.as_ref().display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        let status = if error.is_syntax() { BAD_TEMPLATE } else { FAILED };
        Self::with_status(status, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}
