//! A door for `tests/fuzz` to what takes messages apart.

use crate::Status;
use crate::messages::take;
use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};

/// A stream of messages, and the same as the words of a failure.
pub fn frames(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(message)) = take(&mut buffer) {
        assert!(message.len() <= data.len());
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("2"));
    for name in ["grpc-message", "grpc-status-details-bin"] {
        if let Ok(value) = HeaderValue::from_bytes(data) {
            trailers.insert(name, value);
        }
    }
    let _ = Status::of_trailers(&trailers);
}
