//! Tokens: JSON Web Tokens (RFC 7519) with the claims of the registry token specification.

use super::super::access::Grant;
use super::keys::Key;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// Clocks may differ by so many seconds.
const LEEWAY: u64 = 60;
/// Bytes of a token: what fits into a request's head.
const MAX_TOKEN: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Head {
    alg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

/// One or several names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    #[serde(default)]
    pub(super) sub: String,
    pub(super) aud: Audience,
    pub(super) exp: u64,
    #[serde(default)]
    pub(super) nbf: u64,
    #[serde(default)]
    pub(super) iat: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) jti: String,
    #[serde(default)]
    pub(super) access: Option<Vec<Grant>>,
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Makes a token; `sign` signs its first two parts.
pub(super) fn encode(
    algorithm: &str,
    key: &str,
    claims: &Claims,
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<String> {
    let head = Head { alg: algorithm.into(), typ: Some("JWT".into()), kid: Some(key.into()) };
    let part = |json: Vec<u8>| BASE64_URL_SAFE_NO_PAD.encode(json);
    let signed =
        format!("{}.{}", part(serde_json::to_vec(&head).ok()?), part(serde_json::to_vec(claims).ok()?));
    let signature = sign(signed.as_bytes())?;
    Some(format!("{signed}.{}", part(signature)))
}

/// The claims of a token that one of the keys signed, that is for this audience of this issuer, and good now.
pub(super) fn verify(
    token: &str,
    keys: &[Key],
    issuer: &str,
    audience: &str,
    now: u64,
) -> Result<Claims, String> {
    let bad = || "it is no token".to_owned();
    if token.len() > MAX_TOKEN {
        return Err(bad());
    }
    let (signed, signature) = token.rsplit_once('.').ok_or_else(bad)?;
    let (head, body) = signed.split_once('.').ok_or_else(bad)?;
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| bad());
    let (head, body, signature) = (decode(head)?, decode(body)?, decode(signature)?);
    let head: Head = serde_json::from_slice(&head).map_err(|_| bad())?;
    let id = head.kid.as_deref();
    if !keys.iter().any(|key| key.verifies(&head.alg, id, signed.as_bytes(), &signature)) {
        return Err("no trusted key signed it".into());
    }
    let claims: Claims =
        serde_json::from_slice(&body).map_err(|e| format!("its claims cannot be read: {e}"))?;
    let meant = match &claims.aud {
        Audience::One(one) => one == audience,
        Audience::Several(several) => several.iter().any(|a| a == audience),
    };
    match () {
        () if claims.iss != issuer => Err(format!("it is issued by {:?}", claims.iss)),
        () if !meant => Err("it is for another service".into()),
        () if claims.exp.saturating_add(LEEWAY) < now => Err("it is no longer good".into()),
        () if claims.nbf > now.saturating_add(LEEWAY) => Err("it is not good yet".into()),
        () => Ok(claims),
    }
}
