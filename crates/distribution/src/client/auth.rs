//! Authentication: Basic, and Bearer tokens from the server a registry names (distribution, "Token
//! Authentication Specification"; "OAuth2 Token Authentication").

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wharf_model::{Error, Result};

/// A token without a stated life has this one.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token is not used any more when it has less than this left.
const MARGIN: Duration = Duration::from_secs(10);

/// What a person gave to log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token a token server gave earlier.
    IdentityToken(String),
    /// A token that the registry itself takes.
    RegistryToken(String),
}

/// Secrets are not printed.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

impl Credentials {
    /// The value of an `Authorization: Basic` header.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            }
            _ => None,
        }
    }
}

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Reads one `WWW-Authenticate` header (RFC 9110, 11.6.1); a bearer challenge wins over a basic one.
pub(super) fn parse_challenge(header: &str) -> Option<Challenge> {
    let mut basic = None;
    let mut rest = header.trim();
    while !rest.is_empty() {
        let (scheme, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let (parameters, next) = parse_parameters(after);
        if scheme.eq_ignore_ascii_case("bearer") {
            let get = |name: &str| parameters.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
            return Some(Challenge::Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope"),
            });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
        rest = next;
    }
    basic
}

/// `name=value` and `name="value"`, with commas between; what follows begins another challenge.
fn parse_parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim();
        if name.contains(' ') {
            break;
        }
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, c)) = characters.next() {
                match c {
                    '\\' => value.extend(characters.next().map(|(_, c)| c)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    c => value.push(c),
                }
            }
            (value, &quoted[end..])
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        found.push((name.to_ascii_lowercase(), value));
        rest = next.trim_start_matches([' ', ',']);
    }
    (found, rest)
}

/// Tokens by registry and scope.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<(String, String), Held>>);

enum Held {
    Bearer { value: String, until: Instant },
    Basic,
}

impl Tokens {
    /// The header to send without being asked.
    pub(super) fn header(&self, registry: &str, scope: &str, credentials: &Credentials) -> Option<String> {
        if let Credentials::RegistryToken(token) = credentials {
            return Some(format!("Bearer {token}"));
        }
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get(&(registry.to_owned(), key(scope, credentials)))? {
            Held::Bearer { value, until } => (*until > Instant::now()).then(|| format!("Bearer {value}")),
            Held::Basic => credentials.basic(),
        }
    }

    pub(super) fn keep_bearer(&self, registry: &str, scope: &str, credentials: &Credentials, token: &Token) {
        let life = token.expires_in.map_or(DEFAULT_LIFE, |s| Duration::from_secs(s).max(DEFAULT_LIFE));
        let until = Instant::now() + life.saturating_sub(MARGIN);
        let held = Held::Bearer { value: token.value().unwrap_or_default().to_owned(), until };
        self.keep(registry, scope, credentials, held);
    }

    pub(super) fn keep_basic(&self, registry: &str, scope: &str, credentials: &Credentials) {
        self.keep(registry, scope, credentials, Held::Basic);
    }

    fn keep(&self, registry: &str, scope: &str, credentials: &Credentials, held: Held) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, held| match held {
            Held::Bearer { until, .. } => *until > Instant::now(),
            Held::Basic => true,
        });
        table.insert((registry.to_owned(), key(scope, credentials)), held);
    }
}

/// Two people's tokens are apart; the secret itself is not kept in the key.
fn key(scope: &str, credentials: &Credentials) -> String {
    let secret = match credentials {
        Credentials::Anonymous => String::new(),
        Credentials::Password { user, password } => format!("{user}\0{password}"),
        Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => token.clone(),
    };
    format!("{scope} {}", wharf_oci::digest::Digest::sha256(secret.as_bytes()))
}

/// What a token server answers.
#[derive(Deserialize)]
pub(super) struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    pub(super) refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Token {
    pub(super) fn value(&self) -> Option<&str> {
        self.token
            .as_deref()
            .filter(|t| !t.is_empty())
            .or(self.access_token.as_deref())
            .filter(|t| !t.is_empty())
    }

    pub(super) fn parse(body: &[u8], realm: &str) -> Result<Self> {
        let token: Self = serde_json::from_slice(body).map_err(|e| {
            Error::wrap(
                wharf_model::ErrorKind::Internal,
                format!("the token server {realm} answered no JSON"),
                e,
            )
        })?;
        if token.value().is_none() {
            return Err(Error::internal(format!("the token server {realm} answered without a token")));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let header =
            r#"Bearer realm="https://auth.io/token",service="reg.io",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer { realm, service, scope }) = parse_challenge(header) else {
            panic!("{header}")
        };
        assert_eq!(realm, "https://auth.io/token");
        assert_eq!(service.as_deref(), Some("reg.io"));
        assert_eq!(scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(parse_challenge("Basic realm=x"), Some(Challenge::Basic));
        let both = parse_challenge(r#"Basic realm="a \"b\"", bearer Realm="https://x""#);
        assert!(matches!(both, Some(Challenge::Bearer { .. })), "{both:?}");
        assert_eq!(parse_challenge("Negotiate"), None);
        assert_eq!(parse_challenge("Bearer service=x"), None);
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let secret = Credentials::Password { user: "me".into(), password: "hunter2".into() };
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
