//! Answers: bodies, headers and the error codes of the specification.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use wharf_model::ErrorKind;
use wharf_oci::digest::Digest;

pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub(super) type Reply = Response<Body>;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A refusal: status, code of the specification, and what a person reads.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn blob_unknown(digest: &Digest) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("blob {digest} is not in this repository"))
    }

    pub(super) fn manifest_unknown(selector: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("manifest unknown: {selector}"))
    }

    pub(super) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "there is no such upload: begin a new one")
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(super) fn into_reply(self) -> Reply {
        let body = serde_json::json!({"errors": [{"code": self.code, "message": self.message}]});
        json(self.status, &body)
    }
}

/// The disk's failures are logged for the operator and say no more to the client than that they happened.
impl From<wharf_model::Error> for Refusal {
    fn from(error: wharf_model::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", error.full()),
            ErrorKind::Invalid => Self::digest_invalid(error.full()),
            ErrorKind::Forbidden => Self::denied(error.full()),
            ErrorKind::Conflict => Self::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", error.full()),
            _ => {
                tracing::error!(error = error.full(), "registry storage failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "UNKNOWN",
                    "the registry's storage failed; see its log",
                )
            }
        }
    }
}

pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Empty::new().map_err(|e| match e {}).boxed_unsync());
    *reply.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    reply
}

pub(super) fn bytes(status: StatusCode, content_type: &str, body: Bytes) -> Reply {
    let length = body.len();
    let mut reply = Response::new(Full::new(body).map_err(|e| match e {}).boxed_unsync());
    *reply.status_mut() = status;
    set(&mut reply, CONTENT_TYPE, content_type);
    reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    reply
}

pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    bytes(status, "application/json", Bytes::from(body.to_string()))
}

/// The length that an answer says it has.
pub(super) fn length(reply: &Reply) -> Option<u64> {
    reply.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Sets a header; what cannot be one is left out, as it came from a checked value.
pub(super) fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}
