//! The registry client: manifests, blobs, tags, login.
//!
//! Transient failures (connection, 429, 5xx) are tried again with growing pauses; a broken download goes on
//! where it stopped. Every answer has a bound on its size and on silence.

mod auth;
mod blobs;
mod fetch;
mod manifests;
mod resolve;
mod search;
pub mod tls;
mod transport;

pub use auth::Credentials;
pub use blobs::{Made, Mount, Sent};
pub use fetch::Document;
pub use manifests::Fetched;
pub use resolve::Resolver;
pub use search::Found;

use auth::{Challenge, Token, Tokens, parse_challenge};
use bytes::{Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use transport::{RequestBody, Transport};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::reference::Reference;

/// A registry has this long to begin an answer, and between two pieces of it.
const SILENCE: Duration = Duration::from_secs(60);
/// Times a request is sent at most.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause, also when the registry asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const MAX_REDIRECTS: u32 = 8;
/// Bytes of an answer that is neither manifest nor blob: errors, tokens, lists.
const MAX_SMALL_BODY: usize = 4 << 20;
/// Where `docker.io` is.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Hosts that may be spoken to in the clear or with any certificate: `host`, `host:port` or a network.
    /// Loopback addresses are always among them.
    pub insecure_registries: Vec<String>,
    /// Certificates per registry, as Docker keeps them.
    pub certs_dir: PathBuf,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            insecure_registries: Vec::new(),
            certs_dir: "/etc/docker/certs.d".into(),
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Speaks to any number of registries.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    tokens: Arc<Tokens>,
    user_agent: HeaderValue,
}

/// One repository of a registry, with somebody's credentials.
#[derive(Clone)]
pub struct Repository {
    client: Client,
    registry: String,
    path: String,
    credentials: Credentials,
}

/// A request that can be sent more than once.
struct Call<'a> {
    method: Method,
    /// A path on the registry, or a whole address.
    target: String,
    headers: HeaderMap,
    body: &'a (dyn Fn() -> Result<(RequestBody, Option<u64>)> + Sync),
    scope: String,
}

fn no_body() -> Result<(RequestBody, Option<u64>)> {
    bytes_body(&Bytes::new())
}

fn bytes_body(bytes: &Bytes) -> Result<(RequestBody, Option<u64>)> {
    let length = bytes.len() as u64;
    Ok((Full::new(bytes.clone()).map_err(|e| match e {}).boxed_unsync(), Some(length)))
}

impl<'a> Call<'a> {
    fn new(method: Method, target: impl Into<String>, scope: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: HeaderMap::new(), body: &no_body, scope: scope.into() }
    }
}

/// The host a registry's name stands for.
fn host_of(registry: &str) -> &str {
    if registry == wharf_oci::reference::DEFAULT_DOMAIN { DOCKER_HUB } else { registry }
}

impl Client {
    /// A client; nothing is contacted yet.
    pub fn new(config: &ClientConfig) -> Result<Self> {
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, "use the client's name as a header", e))?;
        Ok(Self { transport: Transport::new(config), tokens: Arc::default(), user_agent })
    }

    /// The repository of a reference.
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        Repository {
            client: self.clone(),
            registry: reference.domain().to_owned(),
            path: reference.path().to_owned(),
            credentials,
        }
    }

    /// Tries credentials, as `docker login` does. Returns the identity token when the token server gave one to
    /// keep instead of the password.
    pub async fn login(&self, registry: &str, credentials: &Credentials) -> Result<Option<String>> {
        let call = Call::new(Method::GET, "/v2/", "");
        let (response, identity) = self.send_authorised(registry, credentials, &call).await?;
        match response.status() {
            StatusCode::OK => Ok(identity),
            _ => Err(failure(response, &format!("login to {registry}")).await),
        }
    }

    /// The repositories of a registry, all pages of them.
    pub async fn catalog(&self, registry: &str, credentials: &Credentials) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            repositories: Option<Vec<String>>,
        }
        let mut all = Vec::new();
        let mut next = Some("/v2/_catalog?n=1000".to_owned());
        while let Some(target) = next.take() {
            let call = Call::new(Method::GET, target, "registry:catalog:*");
            let (page, more): (Page, _) = self.page(registry, credentials, &call).await?;
            all.extend(page.repositories.unwrap_or_default());
            next = more;
        }
        Ok(all)
    }

    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        registry: &str,
        credentials: &Credentials,
        call: &Call<'_>,
    ) -> Result<(T, Option<String>)> {
        let response = self.send(registry, credentials, call).await?;
        if response.status() != StatusCode::OK {
            return Err(failure(response, &format!("list {} of {registry}", call.target)).await);
        }
        let more =
            response.headers().get(http::header::LINK).and_then(|v| v.to_str().ok()).and_then(next_link);
        let body = collect(response, MAX_SMALL_BODY).await?;
        let page = serde_json::from_slice(&body).map_err(|e| {
            Error::wrap(ErrorKind::Internal, format!("{registry} answered something that is no list"), e)
        })?;
        Ok((page, more))
    }

    /// Sends a call, again after transient failures, with whatever authentication the registry wants.
    async fn send(
        &self,
        registry: &str,
        credentials: &Credentials,
        call: &Call<'_>,
    ) -> Result<Response<Incoming>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let pause = FIRST_PAUSE * 2u32.pow(attempt - 1);
            let pause = match self.send_authorised(registry, credentials, call).await {
                Ok((response, _)) if is_transient(response.status()) && attempt < ATTEMPTS => {
                    tracing::debug!(registry, status = %response.status(), "the registry is busy");
                    retry_after(response.headers()).unwrap_or(pause)
                }
                Ok((response, _)) => return Ok(response),
                Err(error) if error.kind() == ErrorKind::Internal && attempt < ATTEMPTS => {
                    tracing::debug!(registry, error = error.full(), "trying again");
                    pause
                }
                Err(error) => return Err(error),
            };
            // A pause before another attempt at a server that is in trouble, not a wait for something local.
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
        }
    }

    async fn send_authorised(
        &self,
        registry: &str,
        credentials: &Credentials,
        call: &Call<'_>,
    ) -> Result<(Response<Incoming>, Option<String>)> {
        let header = self.tokens.header(registry, &call.scope, credentials);
        let response = self.send_once(registry, call, header.as_deref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok((response, None));
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let mut challenges: Vec<Challenge> = challenges.filter_map(parse_challenge).collect();
        challenges.sort_by_key(|c| matches!(c, Challenge::Basic));
        let (header, identity) = match challenges.into_iter().next() {
            Some(Challenge::Basic) => {
                let Some(header) = credentials.basic() else { return Ok((response, None)) };
                self.tokens.keep_basic(registry, &call.scope, credentials);
                (header, None)
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let mut scopes: Vec<&str> = call.scope.split(' ').filter(|s| !s.is_empty()).collect();
                if scopes.is_empty() {
                    scopes.extend(scope.as_deref().filter(|s| !s.is_empty()));
                }
                let token = self.token(registry, credentials, &realm, service.as_deref(), &scopes).await?;
                self.tokens.keep_bearer(registry, &call.scope, credentials, &token);
                (format!("Bearer {}", token.value().unwrap_or_default()), token.refresh_token)
            }
            None => return Ok((response, None)),
        };
        Ok((self.send_once(registry, call, Some(&header)).await?, identity))
    }

    /// Asks the server that a registry names for a token.
    async fn token(
        &self,
        registry: &str,
        credentials: &Credentials,
        realm: &str,
        service: Option<&str>,
        scopes: &[&str],
    ) -> Result<Token> {
        let uri: Uri = realm.parse().map_err(|e| {
            Error::wrap(ErrorKind::Internal, format!("{registry} names the token server {realm:?}"), e)
        })?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        if uri.scheme_str() != Some("https") && !self.transport.is_insecure(&host) {
            let text = format!("{registry} wants credentials sent in the clear to {realm}: refused");
            return Err(Error::new(ErrorKind::Unauthorised, text));
        }
        let service = service.unwrap_or_default();
        let mut request = Request::builder().header(USER_AGENT, &self.user_agent);
        let body = if let Credentials::IdentityToken(token) = credentials {
            let scope = scopes.join(" ");
            let form = [
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", "wharf"),
                ("scope", &scope),
                ("refresh_token", token),
            ];
            request = request
                .method(Method::POST)
                .uri(realm)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            Bytes::from(encode(&form))
        } else {
            let mut query: Vec<(&str, &str)> = vec![("service", service)];
            query.extend(scopes.iter().map(|scope| ("scope", *scope)));
            if let Credentials::Password { user, .. } = credentials {
                query.extend([("account", &user[..]), ("client_id", "wharf"), ("offline_token", "true")]);
            }
            let separator = if uri.query().is_some() { '&' } else { '?' };
            request = request.uri(format!("{realm}{separator}{}", encode(&query)));
            if let Some(basic) = credentials.basic() {
                request = request.header(AUTHORIZATION, basic);
            }
            Bytes::new()
        };
        let length = body.len();
        let (body, _) = bytes_body(&body)?;
        let request = request.header(CONTENT_LENGTH, length).body(body);
        let request = request
            .map_err(|e| Error::wrap(ErrorKind::Internal, format!("ask the token server {realm}"), e))?;
        let response = answered(self.transport.send(request)).await?;
        if !response.status().is_success() {
            let doing = format!("get a token for {registry} from {host}");
            let error = failure(response, &doing).await;
            // Token servers answer 400 or 403 to wrong passwords, too.
            let kind = match error.kind() {
                ErrorKind::Invalid | ErrorKind::Forbidden => ErrorKind::Unauthorised,
                kind => kind,
            };
            return Err(Error::new(kind, error.full()));
        }
        Token::parse(&collect(response, MAX_SMALL_BODY).await?, realm)
    }

    /// Sends a call once, following redirects. Credentials stay with the host they are for.
    async fn send_once(
        &self,
        registry: &str,
        call: &Call<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>> {
        let host = host_of(registry);
        let mut target = match call.target.starts_with('/') {
            true => format!("{}://{host}{}", self.transport.scheme(host).await?, call.target),
            false => call.target.clone(),
        };
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = target.parse().map_err(|e| {
                Error::wrap(
                    ErrorKind::Internal,
                    format!("{registry} leads to {target:?}, which is no address"),
                    e,
                )
            })?;
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            if uri.scheme_str() != Some("https")
                && !self.transport.is_insecure(&authority)
                && !self.transport.is_insecure(host)
            {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    format!("{registry} leads to {target}, in the clear: refused"),
                ));
            }
            let mut request =
                Request::builder().method(call.method.clone()).uri(uri).header(USER_AGENT, &self.user_agent);
            for (name, value) in &call.headers {
                request = request.header(name, value);
            }
            if let Some(authorization) = authorization.filter(|_| authority == host) {
                let mut value = HeaderValue::from_str(authorization)
                    .map_err(|e| Error::wrap(ErrorKind::Unauthorised, "send the credentials", e))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let (body, length) = (call.body)()?;
            if let Some(length) =
                length.filter(|l| *l > 0 || !matches!(call.method, Method::GET | Method::HEAD))
            {
                request = request.header(CONTENT_LENGTH, length);
            }
            let request = request
                .body(body)
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("make a request to {registry}"), e))?;
            let response = answered(self.transport.send(request)).await?;
            let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            match (response.status(), location) {
                (
                    StatusCode::MOVED_PERMANENTLY
                    | StatusCode::FOUND
                    | StatusCode::SEE_OTHER
                    | StatusCode::TEMPORARY_REDIRECT
                    | StatusCode::PERMANENT_REDIRECT,
                    Some(location),
                ) if matches!(call.method, Method::GET | Method::HEAD) => {
                    target = absolute(&target, location);
                }
                _ => return Ok(response),
            }
        }
        Err(Error::internal(format!("{registry} redirects more than {MAX_REDIRECTS} times")))
    }
}

/// A `Location` as a whole address.
fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let start = base.find("://").map_or(0, |at| at + 3);
    let origin = base[start..].find('/').map_or(base, |at| &base[..start + at]);
    let slash = if location.starts_with('/') { "" } else { "/" };
    format!("{origin}{slash}{location}")
}

/// The address after `rel="next"` of a `Link` header; paths only, so that a list stays with its registry.
fn next_link(header: &str) -> Option<String> {
    let (address, parameters) = header.strip_prefix('<')?.split_once('>')?;
    if !parameters.contains("next") {
        return None;
    }
    match address.split_once("://") {
        None => Some(address.to_owned()),
        Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned()),
    }
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

async fn answered(response: impl Future<Output = Result<Response<Incoming>>>) -> Result<Response<Incoming>> {
    match tokio::time::timeout(SILENCE, response).await {
        Ok(response) => response,
        Err(_) => {
            Err(Error::internal(format!("the registry did not answer for {} seconds", SILENCE.as_secs())))
        }
    }
}

/// The whole body of an answer, up to a bound.
async fn collect(response: Response<Incoming>, limit: usize) -> Result<Bytes> {
    let mut body = response.into_body();
    let mut all = BytesMut::new();
    loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => return Ok(all.freeze()),
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                if all.len() + data.len() > limit {
                    return Err(Error::invalid(format!("the registry's answer has more than {limit} bytes")));
                }
                all.extend_from_slice(&data);
            }
            Ok(Some(Err(e))) => {
                return Err(Error::wrap(ErrorKind::Internal, "read the registry's answer", e));
            }
            Err(_) => {
                return Err(Error::internal(format!(
                    "the registry was silent for {} seconds",
                    SILENCE.as_secs()
                )));
            }
        }
    }
}

/// The error an unexpected answer stands for, with what the registry says about it.
async fn failure(response: Response<Incoming>, doing: &str) -> Error {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Item>,
        #[serde(default)]
        details: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let said = match collect(response, MAX_SMALL_BODY).await {
        Ok(body) => match serde_json::from_slice::<Body>(&body) {
            Ok(body) => {
                let items = body
                    .errors
                    .iter()
                    .map(|e| format!("{}: {}", e.code.to_lowercase().replace('_', " "), e.message));
                items.chain(body.details).collect::<Vec<_>>().join("; ")
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
    let said = if said.is_empty() { format!("the registry answered {status}") } else { said };
    Error::new(kind, format!("{doing}: {said}"))
}

/// `application/x-www-form-urlencoded`.
fn encode(pairs: &[(&str, &str)]) -> String {
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

fn escape(value: &str) -> String {
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

impl Repository {
    /// The registry's name: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.path)
    }

    fn call<'a>(&self, method: Method, rest: &str, actions: &str) -> Call<'a> {
        Call::new(method, format!("/v2/{}/{rest}", self.path), self.scope(actions))
    }

    async fn send(&self, call: &Call<'_>) -> Result<Response<Incoming>> {
        self.client.send(&self.registry, &self.credentials, call).await
    }

    /// The tags of the repository, all pages of them.
    pub async fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut all = Vec::new();
        let mut next = Some(format!("/v2/{}/tags/list?n=1000", self.path));
        while let Some(target) = next.take() {
            let call = Call::new(Method::GET, target, self.scope("pull"));
            let (page, more): (Page, _) = self.client.page(&self.registry, &self.credentials, &call).await?;
            all.extend(page.tags.unwrap_or_default());
            next = more;
        }
        Ok(all)
    }
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
