//! What can go wrong between a client and an engine.

use crate::types::ErrorResponse;
use http::StatusCode;
use std::{fmt, io};

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// No engine is listening, or it may not be spoken to.
    Connect {
        /// Where it was looked for.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The engine refused.
    Api {
        /// HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// The connection ended before an answer.
    Closed,
    /// What was received is not an answer.
    Protocol(String),
    /// The request cannot be made.
    Invalid(String),
    /// Reading or writing failed on the way.
    Io(io::Error),
}

impl Error {
    /// The error in an answer: JSON with a message, or plain text of older engines and proxies.
    pub(super) fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let message = match serde_json::from_slice::<ErrorResponse>(body) {
            Ok(response) if !response.message.is_empty() => response.message,
            _ => String::from_utf8_lossy(body).trim().to_owned(),
        };
        let message = if message.is_empty() { status.to_string() } else { message };
        Self::Api { status: status.as_u16(), message }
    }

    /// The HTTP status, when the engine refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the engine said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether there is no engine at this address: nothing listens there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Connect { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }

    /// The newest version that the engine says it speaks, when ours is too new for it.
    pub(super) fn newest_version(&self) -> Option<String> {
        let Self::Api { status: 400, message } = self else { return None };
        let (_, rest) = message.split_once("Maximum supported API version is ")?;
        let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        (version.split('.').count() == 2).then_some(version)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { endpoint, source } if source.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "permission denied while trying to connect to the engine at {endpoint}: \
                 run as root or join the group that owns the socket"
            ),
            Self::Connect { endpoint, source } => {
                let why = match source.kind() {
                    io::ErrorKind::NotFound => "there is no such socket".to_owned(),
                    io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
                    _ => source.to_string(),
                };
                write!(f, "Cannot connect to the daemon at {endpoint}. Is the daemon running? ({why})")
            }
            Self::Api { message, .. } => write!(f, "Error response from daemon: {message}"),
            Self::Closed => f.write_str("the engine closed the connection without an answer"),
            Self::Protocol(what) | Self::Invalid(what) => f.write_str(what),
            Self::Io(error) => write!(f, "talk to the engine: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_refusals() {
        let error = |message: &str| Error::Api { status: 400, message: message.into() };
        let text = "client version 1.51 is too new. Maximum supported API version is 1.47";
        assert_eq!(error(text).newest_version().as_deref(), Some("1.47"));
        assert_eq!(error("bad parameter").newest_version(), None);
    }

    #[test]
    fn answers_without_json() {
        let error = Error::from_answer(StatusCode::BAD_GATEWAY, b"proxy says no\n");
        assert_eq!(error.to_string(), "Error response from daemon: proxy says no");
        let error = Error::from_answer(StatusCode::NOT_FOUND, b"{\"message\":\"No such image: x\"}");
        assert!(error.is_not_found());
    }
}
