//! Answers: their size, their errors, their addresses.

use super::MAX_SMALL_BODY;
use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::{Duration, SystemTime};
use wharf_model::{Error, ErrorKind, Result};

/// How many times the longest silence an answer that is no blob may take: one that comes byte by byte has an end, too.
const PATIENCE: u32 = 5;

/// A `Location` as a whole address.
pub(super) fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let start = base.find("://").map_or(0, |at| at + 3);
    let origin = base[start..].find('/').map_or(base, |at| &base[..start + at]);
    let slash = if location.starts_with('/') { "" } else { "/" };
    format!("{origin}{slash}{location}")
}

/// The address after `rel="next"` of a `Link` header; paths only, so that a list stays with its registry.
pub(super) fn next_link(header: &str) -> Option<String> {
    let (address, parameters) = header.strip_prefix('<')?.split_once('>')?;
    if !parameters.contains("next") {
        return None;
    }
    match address.split_once("://") {
        None => Some(address.to_owned()),
        Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned()),
    }
}

pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

fn silent(silence: Duration, what: &str) -> Error {
    Error::internal(format!("the registry {what} for {} seconds", silence.as_secs_f32()))
}

pub(super) async fn answered(
    response: impl Future<Output = Result<Response<Incoming>>>,
    silence: Duration,
) -> Result<Response<Incoming>> {
    match tokio::time::timeout(silence, response).await {
        Ok(response) => response,
        Err(_) => Err(silent(silence, "did not answer")),
    }
}

/// The next piece of a body; `None` at its end.
pub(super) async fn piece(body: &mut Incoming, silence: Duration, doing: &str) -> Result<Option<Bytes>> {
    loop {
        let frame = match tokio::time::timeout(silence, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(e))) => return Err(Error::wrap(ErrorKind::Internal, doing, e)),
            Err(_) => return Err(Error::wrap(ErrorKind::Internal, doing, silent(silence, "was silent"))),
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// The whole body of an answer, up to a bound.
pub(super) async fn collect(response: Response<Incoming>, limit: usize, silence: Duration) -> Result<Bytes> {
    let doing = "read the registry's answer";
    let collecting = async {
        let mut body = response.into_body();
        let mut all = BytesMut::new();
        while let Some(data) = piece(&mut body, silence, doing).await? {
            if all.len() + data.len() > limit {
                return Err(Error::invalid(format!("the registry's answer has more than {limit} bytes")));
            }
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    };
    match tokio::time::timeout(silence * PATIENCE, collecting).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("{doing}: it had not ended after {} seconds", (silence * PATIENCE).as_secs());
            Err(Error::internal(text))
        }
    }
}

/// The error an unexpected answer stands for, with what the registry says about it.
pub(super) async fn failure(response: Response<Incoming>, silence: Duration, doing: &str) -> Error {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Item>,
        /// What token servers say instead.
        #[serde(default, alias = "message", alias = "error_description")]
        details: Option<String>,
        #[serde(default)]
        error: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let said = match collect(response, MAX_SMALL_BODY, silence).await {
        Ok(body) => match serde_json::from_slice::<Body>(&body) {
            Ok(body) => {
                let items = body
                    .errors
                    .iter()
                    .map(|e| format!("{}: {}", e.code.to_lowercase().replace('_', " "), e.message));
                items.chain(body.error).chain(body.details).collect::<Vec<_>>().join("; ")
            }
            // HTML from something in between helps nobody.
            Err(_) => String::new(),
        },
        Err(_) => String::new(),
    };
    let kind = match status {
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthorised,
        StatusCode::FORBIDDEN => ErrorKind::Forbidden,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::CONFLICT => ErrorKind::Conflict,
        s if s.is_client_error() => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    };
    let who = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED { "proxy" } else { "registry" };
    let said = if said.is_empty() { format!("the {who} answered {status}") } else { said };
    Error::new(kind, format!("{doing}: {said}"))
}

/// `application/x-www-form-urlencoded`.
pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(&escape(value));
    }
    out
}

pub(super) fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(absolute("https://a.io/v2/x", "/v2/y?z=1"), "https://a.io/v2/y?z=1");
        assert_eq!(absolute("https://a.io/v2/x", "https://b.io/q"), "https://b.io/q");
        assert_eq!(absolute("http://a.io:5000", "y"), "http://a.io:5000/y");
        assert_eq!(
            next_link("</v2/_catalog?n=1&last=a>; rel=\"next\"").as_deref(),
            Some("/v2/_catalog?n=1&last=a")
        );
        assert_eq!(next_link("<https://evil.io/v2/x?n=1>; rel=\"next\"").as_deref(), Some("/v2/x?n=1"));
        assert_eq!(next_link("</x>; rel=\"prev\""), None);
        assert_eq!(encode(&[("a", "b c&"), ("d", "")]), "a=b%20c%26&d=");
    }
}
