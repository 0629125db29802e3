//! What is wrong with a Compose file, a project or the engine's answer.

use std::{fmt, io};
use wharf_docker_api::client;

/// A place in a file; lines and columns from 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// The file as it was named.
    pub file: std::sync::Arc<str>,
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why something of a project failed.
#[derive(Debug)]
pub enum Error {
    /// A file says what it may not.
    File {
        /// Where.
        at: Position,
        /// What, with the attribute's name.
        message: String,
    },
    /// The project as a whole, or what was asked of it, makes no sense.
    Project(String),
    /// Nothing of that name.
    NotFound(String),
    /// A file cannot be read.
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The engine, or the way to it.
    Engine {
        /// What was being done, such as `Container x`; empty where the engine's words say it.
        what: String,
        /// Why it failed.
        source: client::Error,
    },
    /// A container ended, and with it the command.
    Exit(i32, String),
}

/// What a caller would treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's files or words.
    Invalid,
    /// Nothing of that name.
    NotFound,
    /// The engine or the system.
    Internal,
}

impl Error {
    /// A fault of the project or of what was asked.
    pub fn project(message: impl Into<String>) -> Self {
        Self::Project(message.into())
    }

    /// A fault at a place.
    pub fn at(at: &Position, message: impl Into<String>) -> Self {
        Self::File { at: at.clone(), message: message.into() }
    }

    /// A failed call while something was being done.
    pub fn engine(what: impl Into<String>, source: client::Error) -> Self {
        Self::Engine { what: what.into(), source }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Project(_) => Kind::Invalid,
            Self::NotFound(_) => Kind::NotFound,
            Self::Read { .. } | Self::Engine { .. } | Self::Exit(..) => Kind::Internal,
        }
    }

    /// The exit status of a command that ends with this.
    pub fn status(&self) -> i32 {
        match self {
            Self::Exit(status, _) => *status,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { at, message } => write!(f, "{at}: {message}"),
            Self::Project(message) | Self::NotFound(message) | Self::Exit(_, message) => f.write_str(message),
            Self::Read { path, source } => match source.kind() {
                io::ErrorKind::NotFound => write!(f, "open {}: no such file or directory", path.display()),
                _ => write!(f, "read {}: {source}", path.display()),
            },
            Self::Engine { what, source } if what.is_empty() => write!(f, "{source}"),
            Self::Engine { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Engine { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<client::Error> for Error {
    fn from(source: client::Error) -> Self {
        Self::Engine { what: String::new(), source }
    }
}
