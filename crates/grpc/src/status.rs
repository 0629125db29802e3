//! How a call ended: gRPC's codes, and what `grpc-status` and its neighbours say.

use crate::proto::ops::Any;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use std::fmt::Write;

/// The codes of gRPC that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It worked.
    Ok,
    /// The caller left.
    Cancelled,
    /// Anything else.
    Unknown,
    /// The request makes no sense.
    InvalidArgument,
    /// It took too long.
    DeadlineExceeded,
    /// What was asked for is not there.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The caller may not.
    PermissionDenied,
    /// More than there may be.
    ResourceExhausted,
    /// There is no such method, or no such feature.
    Unimplemented,
    /// A fault of the engine.
    Internal,
    /// The other side is gone.
    Unavailable,
    /// Nobody knows the caller.
    Unauthenticated,
    /// A code of no meaning here.
    Other(i32),
}

const CODES: [(Code, i32); 13] = [
    (Code::Ok, 0),
    (Code::Cancelled, 1),
    (Code::Unknown, 2),
    (Code::InvalidArgument, 3),
    (Code::DeadlineExceeded, 4),
    (Code::NotFound, 5),
    (Code::AlreadyExists, 6),
    (Code::PermissionDenied, 7),
    (Code::ResourceExhausted, 8),
    (Code::Unimplemented, 12),
    (Code::Internal, 13),
    (Code::Unavailable, 14),
    (Code::Unauthenticated, 16),
];

impl Code {
    /// The code of a number.
    pub fn of(number: i32) -> Self {
        CODES.iter().find(|(_, n)| *n == number).map_or(Self::Other(number), |(code, _)| *code)
    }

    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Self::Other(number) => number,
            code => CODES.iter().find(|(c, _)| *c == code).map_or(2, |(_, number)| *number),
        }
    }
}

/// The end of a call that did not work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// What kind of failure.
    pub code: Code,
    /// What people read.
    pub message: String,
    /// What programs read.
    pub details: Vec<Any>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    /// gRPC's code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What people read.
    #[prost(string, tag = "2")]
    pub message: String,
    /// What programs read.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

impl From<RpcStatus> for Status {
    fn from(status: RpcStatus) -> Self {
        Self { code: Code::of(status.code), message: status.message, details: status.details }
    }
}

impl Status {
    /// A failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// `Unimplemented`, by name.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, message)
    }

    /// `InvalidArgument`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// The other side is gone.
    pub(crate) fn gone(error: &dyn std::error::Error) -> Self {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::new(Code::Unavailable, format!("the connection broke: {error}{cause}"))
    }

    /// The trailers of a call: of one that worked, or of a failed one.
    pub(crate) fn trailers(status: Option<&Self>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let number = status.map_or(0, |status| status.code.number());
        headers.insert("grpc-status", HeaderValue::from(number));
        let Some(status) = status else { return headers };
        if let Ok(message) = escaped(&status.message).parse() {
            headers.insert("grpc-message", message);
        }
        if !status.details.is_empty() {
            let whole =
                RpcStatus { code: number, message: status.message.clone(), details: status.details.clone() };
            if let Ok(value) = STANDARD_NO_PAD.encode(whole.encode_to_vec()).parse() {
                headers.insert("grpc-status-details-bin", value);
            }
        }
        headers
    }

    /// What trailers say. `None` when they say nothing.
    pub(crate) fn of_trailers(headers: &HeaderMap) -> Option<Result<(), Self>> {
        let number = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(2);
        if number == 0 {
            return Some(Ok(()));
        }
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let details = text("grpc-status-details-bin").trim_end_matches('=');
        let whole = STANDARD_NO_PAD.decode(details).or_else(|_| STANDARD.decode(details)).ok();
        let whole = whole.and_then(|bytes| RpcStatus::decode(&bytes[..]).ok()).unwrap_or_default();
        let message = readable(text("grpc-message"));
        Some(Err(Self { code: Code::of(number), message, details: whole.details }))
    }
}

/// `grpc-message`: everything but printable ASCII is escaped.
fn escaped(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => {
                // A string takes everything.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

fn readable(message: &str) -> String {
    let bytes = message.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = message.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                plain.push(code);
                at += 3;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_its_trailers() {
        let detail = Any { type_url: "t".to_owned(), value: b"{}".to_vec() };
        let status =
            Status { details: vec![detail], ..Status::new(Code::NotFound, "100 % of »it«\nis \"gone\"") };
        assert_eq!(Status::of_trailers(&Status::trailers(Some(&status))), Some(Err(status)));
        assert_eq!(Status::of_trailers(&Status::trailers(None)), Some(Ok(())));
        assert_eq!(Status::of_trailers(&HeaderMap::new()), None);
        assert_eq!(readable("%zz%4"), "%zz%4");
    }

    #[test]
    fn codes_are_numbers() {
        for number in 0..20 {
            assert_eq!(Code::of(number).number(), number);
        }
    }
}
