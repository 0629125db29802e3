//! Credentials: `POST /auth`, and the `X-Registry-Auth` header.

use crate::Api;
use crate::error::ApiResult;
use crate::params::json;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use wharf_distribution::client::Credentials;
use wharf_docker_api::types::system::{AuthConfig, AuthResponse};

/// Clients write base64url, with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials of a request: none when its header cannot be read, as with Docker; clients without any put a word
/// there, for a header there must be.
pub(super) fn credentials(headers: &HeaderMap) -> Credentials {
    header(headers, "X-Registry-Auth").map_or(Credentials::Anonymous, of)
}

/// `X-Registry-Config`: credentials by registry; none when it cannot be read.
pub(crate) fn by_registry(headers: &HeaderMap) -> BTreeMap<String, Credentials> {
    let configs: BTreeMap<String, AuthConfig> = header(headers, "X-Registry-Config").unwrap_or_default();
    configs.into_iter().map(|(host, config)| (registry(&host).to_owned(), of(config))).collect()
}

/// JSON in base64, by either alphabet.
fn header<T: DeserializeOwned>(headers: &HeaderMap, name: &str) -> Option<T> {
    let text = headers.get(name)?.to_str().ok()?.replace('+', "-").replace('/', "_");
    serde_json::from_slice(&BASE64.decode(text).ok()?).ok()
}

fn of(config: AuthConfig) -> Credentials {
    if !config.identity_token.is_empty() {
        return Credentials::IdentityToken(config.identity_token);
    }
    if !config.registry_token.is_empty() {
        return Credentials::RegistryToken(config.registry_token);
    }
    if config.username.is_empty() {
        return Credentials::Anonymous;
    }
    Credentials::Password { user: config.username, password: config.password }
}

/// The registry that a server address means.
fn registry(address: &str) -> &str {
    let host = address.trim_start_matches("https://").trim_start_matches("http://");
    match host.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

pub(crate) async fn login(State(api): State<Api>, body: Body) -> ApiResult {
    let config: AuthConfig = json(body).await?;
    let registry = registry(&config.server_address).to_owned();
    let identity = api.images.client().login(&registry, &of(config)).await?;
    let response =
        AuthResponse { status: "Login Succeeded".to_owned(), identity_token: identity.unwrap_or_default() };
    Ok(Json(response).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_clients() {
        let mut headers = HeaderMap::new();
        assert_eq!(credentials(&headers), Credentials::Anonymous);
        let json = br#"{"username":"u","password":"p?>~"}"#;
        let expected = Credentials::Password { user: "u".into(), password: "p?>~".into() };
        for engine in [base64::engine::general_purpose::URL_SAFE, base64::engine::general_purpose::STANDARD] {
            headers.insert("X-Registry-Auth", engine.encode(json).parse().unwrap());
            assert_eq!(credentials(&headers), expected);
        }
        for unreadable in ["%%%", "FOO", "bm90anNvbg==", "eyJ1c2VybmFtZSI6MX0="] {
            headers.insert("X-Registry-Auth", unreadable.parse().unwrap());
            headers.insert("X-Registry-Config", unreadable.parse().unwrap());
            assert_eq!(
                (credentials(&headers), by_registry(&headers)),
                (Credentials::Anonymous, BTreeMap::new())
            );
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(registry("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(registry("127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(registry("http://r.example:5000/v2/"), "r.example:5000");
    }
}
