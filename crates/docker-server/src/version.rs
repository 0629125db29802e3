//! Versions of the API: which are spoken, which a request is in, and what older ones had otherwise.

use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use std::convert::Infallible;
use wharf_docker_api::types::container::CreateRequest;
use wharf_docker_api::types::network::EndpointSettings;

/// The newest API version that is spoken.
pub const API_VERSION: &str = "1.51";
/// The oldest API version that is spoken.
pub const MIN_API_VERSION: &str = "1.24";

/// What a request speaks that does not say.
pub(crate) const NEWEST: Version = Version(1, 51);
const OLDEST: Version = Version(1, 24);

/// The version that a request is in: the newest where its path names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32);

impl<S: Sync> FromRequestParts<S> for Version {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(NEWEST))
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// Whether it is older than 1.`minor`.
    pub(crate) fn is_before(self, minor: u32) -> bool {
        self < Self(1, minor)
    }

    /// What a stream of output is called; until 1.41 it was raw whatever it was.
    pub(crate) fn stream_type(self, is_raw: bool) -> &'static str {
        match is_raw || self.is_before(42) {
            true => "application/vnd.docker.raw-stream",
            false => "application/vnd.docker.multiplexed-stream",
        }
    }

    /// Takes out of a request what its version did not know, and puts in what was its default.
    pub(crate) fn create(self, request: &mut CreateRequest) {
        let CreateRequest { config, host_config: host, .. } = request;
        if self.is_before(40) && host.ipc_mode.is_empty() {
            "shareable".clone_into(&mut host.ipc_mode);
        }
        if self.is_before(43) {
            host.annotations = None;
        }
        if let Some(check) = config.healthcheck.as_mut().filter(|_| self.is_before(44)) {
            check.start_interval = 0;
        }
    }

    /// Until 1.44 a container's short id and host name were among its aliases; Compose 1 looks for them.
    pub(crate) fn endpoint(self, network: &str, names: [&str; 2], settings: &mut EndpointSettings) {
        if !self.is_before(45) || matches!(network, "bridge" | "host" | "none" | "default") {
            return;
        }
        let aliases = settings.aliases.get_or_insert_default();
        for name in names {
            if !name.is_empty() && !aliases.iter().any(|a| a == name) {
                aliases.push(name.to_owned());
            }
        }
    }
}

/// Takes `/v1.43` off the path, after seeing that it is spoken.
pub(crate) fn strip(uri: &Uri) -> Result<(Version, Uri), ApiError> {
    let path = uri.path();
    let Some((text, rest)) = path.strip_prefix("/v").and_then(|p| p.split_once('/')) else {
        return Ok((NEWEST, uri.clone()));
    };
    let Some(version) = Version::parse(text) else { return Ok((NEWEST, uri.clone())) };
    if version > NEWEST {
        return Err(ApiError::bad_request(format!(
            "client version {text} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    if version < OLDEST {
        return Err(ApiError::bad_request(format!(
            "client version {text} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let uri = format!("/{rest}{query}")
        .parse()
        .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, format!("invalid path {path:?}")))?;
    Ok((version, uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_as_they_are_compared() {
        assert_eq!(Version::parse(API_VERSION), Some(NEWEST));
        assert_eq!(Version::parse(MIN_API_VERSION), Some(OLDEST));
    }

    #[test]
    fn a_request_of_an_older_version_has_its_defaults() {
        let body = r#"{"Image":"i","Healthcheck":{"Test":["CMD","x"],"StartInterval":1000000},
            "HostConfig":{"Annotations":{"a":"b"}}}"#;
        let made = |minor| {
            let mut request: CreateRequest = serde_json::from_str(body).unwrap();
            Version(1, minor).create(&mut request);
            let check = request.config.healthcheck.unwrap().start_interval;
            (request.host_config.ipc_mode, request.host_config.annotations.is_some(), check)
        };
        assert_eq!(made(39), ("shareable".to_owned(), false, 0));
        assert_eq!(made(40), (String::new(), false, 0));
        assert_eq!(made(43), (String::new(), true, 0));
        assert_eq!(made(44), (String::new(), true, 1_000_000));
    }

    #[test]
    fn aliases_have_the_short_id_until_1_44() {
        let aliases = |minor, network| {
            let mut settings =
                EndpointSettings { aliases: Some(vec!["web".to_owned()]), ..Default::default() };
            Version(1, minor).endpoint(network, ["abc", "web"], &mut settings);
            settings.aliases.unwrap()
        };
        assert_eq!(aliases(44, "front"), ["web", "abc"]);
        assert_eq!(aliases(44, "bridge"), ["web"]);
        assert_eq!(aliases(45, "front"), ["web"]);
    }

    #[test]
    fn streams_are_named_since_1_42() {
        assert!(Version(1, 41).stream_type(false).contains("raw"));
        assert!(Version(1, 42).stream_type(false).contains("multiplexed"));
        assert!(Version(1, 42).stream_type(true).contains("raw"));
    }

    #[test]
    fn versions_are_known() {
        let version = |uri: &str| strip(&uri.parse().unwrap()).unwrap().0;
        assert!(version("/v1.43/info").is_before(44) && !version("/v1.44/info").is_before(44));
        assert_eq!(version("/info"), NEWEST);
    }

    #[test]
    fn versions_are_taken_off() {
        let strip = |uri: &str| strip(&uri.parse().unwrap()).map(|(_, u)| u.to_string());
        assert_eq!(strip("/v1.43/containers/json?all=1").unwrap(), "/containers/json?all=1");
        assert_eq!(strip("/version").unwrap(), "/version");
        assert_eq!(strip("/volumes/x").unwrap(), "/volumes/x");
        assert!(strip("/v1.99/info").is_err());
        assert!(strip("/v1.12/info").is_err());
    }
}
