//! One error for the seams: what kind it is, what was being done, and why it failed.

use std::fmt;

/// What a caller can do about an error. Becomes an HTTP status or an exit code in one place each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The named thing does not exist (404).
    NotFound,
    /// The thing exists in a state that forbids the operation (409).
    Conflict,
    /// The request itself is wrong (400).
    Invalid,
    /// The credentials are missing or wrong (401).
    Unauthorised,
    /// The credentials are good but do not allow this (403).
    Forbidden,
    /// Nothing to do, it is already so (304).
    NotModified,
    /// Wharf or this kernel cannot do it (501).
    Unsupported,
    /// Everything else (500).
    Internal,
}

/// An error of a seam: a kind, a message for the user, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result of a seam's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message that says what failed, why, and the mend.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Names the operation that failed; the cause is chained, not repeated.
    pub fn wrap(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()) }
    }

    /// `NotFound` with a message.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// `Conflict` with a message.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// `Invalid` with a message.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// `Unsupported` with a message.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// `Internal` with a message.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message and every cause on one line, as a user reads it.
    pub fn full(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_prints_the_chain_once() {
        let error = Error::wrap(ErrorKind::Internal, "open layer", std::io::Error::other("disk on fire"));
        assert_eq!(error.full(), "open layer: disk on fire");
        assert_eq!(error.to_string(), "open layer");
    }
}
