//! The registry client: manifests, blobs, tags, login.
//!
//! Transient failures (connection, 429, 5xx) are tried again with growing pauses; a broken download goes on
//! where it stopped. Every answer has a bound on its size and on silence.

mod answer;
mod auth;
mod blobs;
mod chunks;
mod download;
mod fetch;
mod manifests;
mod mirrors;
mod proxy;
mod resolve;
mod search;
mod send;
mod settings;
mod signatures;
mod socks;
pub mod tls;
mod token;
mod transport;

pub use auth::Credentials;
pub use blobs::{Made, Mount, Sent};
pub use fetch::{Document, Exchange};
pub use manifests::Fetched;
pub use proxy::{Proxies, Proxy};
pub use resolve::Resolver;
pub use search::Found;
pub use settings::{Mirror, Settings};

use answer::{collect, failure, next_link};
use auth::Tokens;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use send::Call;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use transport::{RequestBody, Transport};
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
/// Pages of a list; each may have thousands of names.
const MAX_PAGES: usize = 1000;
/// Where `docker.io` is.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// What [`Client::set`] changes later.
    pub settings: Settings,
    /// Certificates per registry, as Docker keeps them.
    pub certs_dir: PathBuf,
    /// What the client calls itself.
    pub user_agent: String,
    /// A registry has this long to begin an answer, and between two pieces of it.
    pub silence: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            certs_dir: "/etc/docker/certs.d".into(),
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned(),
            silence: SILENCE,
        }
    }
}

/// Speaks to any number of registries.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    tokens: Arc<Tokens>,
    mirrors: Arc<mirrors::Resting>,
    chunks: Arc<chunks::Chunks>,
    user_agent: HeaderValue,
    silence: Duration,
}

/// One repository of a registry, with somebody's credentials.
#[derive(Clone)]
pub struct Repository {
    client: Client,
    registry: String,
    path: String,
    credentials: Credentials,
    /// Times a request is sent: a mirror is not waited for, others have the same.
    attempts: u32,
}

impl Client {
    /// A client; nothing is contacted yet.
    pub fn new(config: &ClientConfig) -> Result<Self> {
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, "use the client's name as a header", e))?;
        Ok(Self {
            transport: Transport::new(config),
            tokens: Arc::default(),
            mirrors: Arc::default(),
            chunks: Arc::default(),
            user_agent,
            silence: config.silence,
        })
    }

    /// How registries are reached.
    pub fn settings(&self) -> Arc<Settings> {
        self.transport.settings()
    }

    /// Changes how registries are reached, from the next connection on.
    pub fn set(&self, settings: Settings) {
        self.transport.set(settings);
    }

    /// The repository of a reference.
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        Repository {
            client: self.clone(),
            registry: reference.domain().to_owned(),
            path: reference.path().to_owned(),
            credentials,
            attempts: ATTEMPTS,
        }
    }

    /// Tries credentials, as `docker login` does. Returns the identity token when the token server gave one to
    /// keep instead of the password.
    pub async fn login(&self, registry: &str, credentials: &Credentials) -> Result<Option<String>> {
        let call = Call::new(Method::GET, "/v2/", "");
        let (response, identity) = self.send_authorised(registry, credentials, &call).await?;
        match response.status() {
            StatusCode::OK => Ok(identity),
            _ => Err(failure(response, self.silence, &format!("login to {registry}")).await),
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
        for _ in 0..MAX_PAGES {
            let Some(target) = next.take() else { break };
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
        let response = self.send(registry, credentials, call, ATTEMPTS).await?;
        if response.status() != StatusCode::OK {
            let doing = format!("list {} of {registry}", call.target);
            return Err(failure(response, self.silence, &doing).await);
        }
        let more =
            response.headers().get(http::header::LINK).and_then(|v| v.to_str().ok()).and_then(next_link);
        let body = collect(response, MAX_SMALL_BODY, self.silence).await?;
        let page = serde_json::from_slice(&body).map_err(|e| {
            Error::wrap(ErrorKind::Internal, format!("{registry} answered something that is no list"), e)
        })?;
        Ok((page, more))
    }
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
        self.client.send(&self.registry, &self.credentials, call, self.attempts).await
    }

    async fn failure(&self, response: Response<Incoming>, doing: &str) -> Error {
        failure(response, self.client.silence, doing).await
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
        for _ in 0..MAX_PAGES {
            let Some(target) = next.take() else { break };
            let call = Call::new(Method::GET, target, self.scope("pull"));
            let (page, more): (Page, _) = self.client.page(&self.registry, &self.credentials, &call).await?;
            all.extend(page.tags.unwrap_or_default());
            next = more;
        }
        Ok(all)
    }
}
