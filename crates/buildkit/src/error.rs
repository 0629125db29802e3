//! Failures of the engine as gRPC's statuses, and the other way.

use wharf_grpc::{Code, Status};
use wharf_model::{Error, ErrorKind};

/// A failure of the engine for a client.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::AlreadyExists,
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Unauthorised => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::NotModified | ErrorKind::Internal => Code::Unknown,
    };
    Status::new(code, error.full())
}

/// Why a build failed: clients put any other code's name before the words.
pub(crate) fn said(status: Status) -> Status {
    let code = if status.code == Code::Cancelled { Code::Cancelled } else { Code::Unknown };
    Status { code, ..status }
}

/// A failure of the user's program, while something was done.
pub(crate) fn failure(doing: &str, status: Status) -> Error {
    let kind = match status.code {
        Code::NotFound => ErrorKind::NotFound,
        Code::InvalidArgument => ErrorKind::Invalid,
        Code::PermissionDenied => ErrorKind::Forbidden,
        Code::Unimplemented => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    };
    Error::wrap(kind, doing, status)
}

/// The same without a word before it.
pub(crate) fn unknown(status: Status) -> Error {
    Error::new(ErrorKind::Internal, status.message)
}
