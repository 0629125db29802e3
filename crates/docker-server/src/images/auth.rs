//! Credentials: `POST /auth`, and the `X-Registry-Auth` header.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::json;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use std::collections::BTreeMap;
use wharf_distribution::client::Credentials;
use wharf_docker_api::types::system::{AuthConfig, AuthResponse};

/// Clients write base64url, with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials of a request; nothing when it has none.
pub(super) fn credentials(headers: &HeaderMap) -> ApiResult<Credentials> {
    let Some(value) = headers.get("X-Registry-Auth") else { return Ok(Credentials::Anonymous) };
    let invalid = || ApiError::bad_request("invalid X-Registry-Auth header: base64url of JSON is expected");
    let text = value.to_str().map_err(|_| invalid())?.replace('+', "-").replace('/', "_");
    if text.is_empty() {
        return Ok(Credentials::Anonymous);
    }
    let json = BASE64.decode(text).map_err(|_| invalid())?;
    let config: AuthConfig = serde_json::from_slice(&json).map_err(|_| invalid())?;
    Ok(of(config))
}

/// `X-Registry-Config`: credentials by registry.
pub(crate) fn by_registry(headers: &HeaderMap) -> ApiResult<BTreeMap<String, Credentials>> {
    let Some(value) = headers.get("X-Registry-Config").filter(|v| !v.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let invalid = || ApiError::bad_request("invalid X-Registry-Config header: base64url of JSON is expected");
    let json = BASE64.decode(value).map_err(|_| invalid())?;
    let configs: BTreeMap<String, AuthConfig> = serde_json::from_slice(&json).map_err(|_| invalid())?;
    Ok(configs.into_iter().map(|(host, config)| (registry(&host).to_owned(), of(config))).collect())
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
        assert_eq!(credentials(&headers).unwrap(), Credentials::Anonymous);
        let json = br#"{"username":"u","password":"p?>~"}"#;
        let expected = Credentials::Password { user: "u".into(), password: "p?>~".into() };
        for engine in [base64::engine::general_purpose::URL_SAFE, base64::engine::general_purpose::STANDARD] {
            headers.insert("X-Registry-Auth", engine.encode(json).parse().unwrap());
            assert_eq!(credentials(&headers).unwrap(), expected);
        }
        headers.insert("X-Registry-Auth", "%%%".parse().unwrap());
        assert!(credentials(&headers).is_err());
    }

    #[test]
    fn addresses() {
        assert_eq!(registry("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(registry("127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(registry("http://r.example:5000/v2/"), "r.example:5000");
    }
}
