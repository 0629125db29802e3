//! Signature Version 4 of AWS, as S3 takes it.

use super::credentials::Keys;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::{digest, hmac};
use std::fmt::Write;
use std::time::SystemTime;
use wharf_model::{Error, ErrorKind, Result};

/// The hash of a body that is not signed: TLS protects it.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 in hex.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Percent-encoded as the signature wants it; with `path`, slashes stay.
pub(super) fn encoded(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if path => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// What of a request is signed besides its headers.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Encoded and sorted.
    pub(super) query: &'a str,
    pub(super) hash: &'a str,
    pub(super) region: &'a str,
}

impl Signed<'_> {
    /// Adds the headers of a signature over all headers that are there.
    pub(super) fn sign(&self, headers: &mut HeaderMap, keys: &Keys, now: SystemTime) -> Result<()> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|e| Error::wrap(ErrorKind::Invalid, "sign a request", e))
        };
        // 2013-05-24T00:00:00Z without what is between the numbers.
        let time: String =
            crate::server::timestamp(now).chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let time = format!("{}Z", time.split(['.', 'Z']).next().unwrap_or_default());
        let day = time.get(..8).unwrap_or_default();
        headers.insert(DATE, value(&time)?);
        headers.insert(HASH, value(self.hash)?);
        if let Some(token) = &keys.token {
            let mut token = value(token)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let mut named: Vec<(&str, &str)> =
            headers.iter().map(|(name, v)| (name.as_str(), v.to_str().unwrap_or_default().trim())).collect();
        named.sort_unstable();
        let names = named.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = named.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request =
            format!("{}\n{}\n{}\n{lines}\n{names}\n{}", self.method, self.path, self.query, self.hash);
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(request.as_bytes()));
        let by = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let key = by(format!("AWS4{}", keys.secret).as_bytes(), day);
        let key = ["s3", "aws4_request"].iter().fold(by(&key, self.region), |key, step| by(&key, step));
        let mut header = value(&format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
            keys.id,
            hex(&by(&key, &text))
        ))?;
        header.set_sensitive(true);
        headers.insert(http::header::AUTHORIZATION, header);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    /// The example of AWS's documentation, "Signature Calculations for the Authorization Header".
    #[test]
    fn the_example_of_the_documentation() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::HOST, HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
        headers.insert(http::header::RANGE, HeaderValue::from_static("bytes=0-9"));
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let empty = hash(b"");
        let signed =
            Signed { method: "GET", path: "/test.txt", query: "", hash: &empty, region: "us-east-1" };
        signed.sign(&mut headers, &keys, UNIX_EPOCH + Duration::from_secs(1_369_353_600)).unwrap();
        let header = headers[http::header::AUTHORIZATION].to_str().unwrap();
        assert!(
            header.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{header}"
        );
        assert_eq!(encoded("a b/ü+", true), "a%20b/%C3%BC%2B");
    }
}
