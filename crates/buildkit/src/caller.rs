//! One session: the calls that a build makes to the user's program.

use crate::error::{failure, unknown};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use wharf_build::{Connection, Session};
use wharf_distribution::client::Credentials;
use wharf_grpc::client::Channel;
use wharf_grpc::client::Requests;
use wharf_grpc::proto::session::{
    CHECK_AGENT, CREDENTIALS, CheckAgentRequest, CredentialsRequest, CredentialsResponse, Empty,
    FORWARD_AGENT, GET_SECRET, GetSecretRequest, GetSecretResponse,
};
use wharf_grpc::{Code, HeaderMap, Messages, Status, relay};
use wharf_model::{Error, Result};
use wharf_oci::reference::DEFAULT_DOMAIN;

/// What clients know Docker Hub by.
const HUB: &str = "registry-1.docker.io";

/// The user's program.
pub(crate) struct Caller {
    pub(crate) channel: Channel,
    methods: BTreeSet<String>,
    /// What it calls the directory that it builds.
    pub(crate) shared_key: String,
}

impl Caller {
    pub(crate) fn new(channel: Channel, methods: BTreeSet<String>, shared_key: String) -> Self {
        Self { channel, methods, shared_key }
    }

    /// Whether it offers a method.
    pub(crate) fn offers(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// The credentials of a registry; nothing when it has none.
    pub(crate) async fn credentials(&self, domain: &str) -> Credentials {
        if !self.offers(CREDENTIALS) {
            return Credentials::Anonymous;
        }
        let host = if domain == DEFAULT_DOMAIN { HUB } else { domain };
        let request = CredentialsRequest { host: host.to_owned() };
        let answer: CredentialsResponse = match self.channel.unary(CREDENTIALS, &request).await {
            Ok(answer) => answer,
            Err(e) => {
                // The registry says better than this what is missing.
                tracing::warn!("ask the session for credentials of {domain}: {e}");
                return Credentials::Anonymous;
            }
        };
        match (answer.username, answer.secret) {
            (_, secret) if secret.is_empty() => Credentials::Anonymous,
            (user, token) if user.is_empty() => Credentials::IdentityToken(token),
            (user, password) => Credentials::Password { user, password },
        }
    }

    /// A stream, with the metadata that says what of.
    pub(crate) fn stream(
        &self,
        method: &'static str,
        metadata: HeaderMap,
    ) -> Result<(Requests, Messages), Status> {
        if !self.offers(method) {
            return Err(Status::unimplemented(format!("method {method} not supported by the client")));
        }
        self.channel.stream(method, metadata)
    }
}

/// What a build asks its session for.
pub(crate) struct Asked(pub(crate) Arc<Caller>);

#[async_trait::async_trait]
impl Session for Asked {
    async fn secret(&self, id: &str) -> Result<Option<Bytes>> {
        if !self.0.offers(GET_SECRET) {
            return Ok(None);
        }
        let request = GetSecretRequest { id: id.to_owned() };
        match self.0.channel.unary::<GetSecretResponse>(GET_SECRET, &request).await {
            Ok(secret) => Ok(Some(secret.data)),
            Err(status) if status.code == Code::NotFound => Ok(None),
            Err(status) => Err(failure(&format!("get the secret {id}"), status)),
        }
    }

    async fn has_agent(&self, id: &str) -> Result<bool> {
        if !self.0.offers(CHECK_AGENT) {
            return Ok(false);
        }
        let request = CheckAgentRequest { id: id.to_owned() };
        match self.0.channel.unary::<Empty>(CHECK_AGENT, &request).await {
            Ok(Empty {}) => Ok(true),
            // Clients say nothing better of an unknown one.
            Err(status) if matches!(status.code, Code::NotFound | Code::Unknown) => Ok(false),
            Err(status) => Err(failure(&format!("ask for the SSH agent {id}"), status)),
        }
    }

    async fn agent(&self, id: &str) -> Result<Connection> {
        if !self.0.offers(FORWARD_AGENT) {
            return Err(Error::not_found(format!("no SSH agent {id:?} was given to this build")));
        }
        let value = id.parse().map_err(|_| Error::invalid(format!("the SSH agent's name {id:?}")))?;
        let metadata = HeaderMap::from_iter([(http::HeaderName::from_static("buildkit.ssh.id"), value)]);
        let (requests, messages) = self.0.stream(FORWARD_AGENT, metadata).map_err(unknown)?;
        let (ours, theirs) = tokio::io::duplex(relay::PIECE);
        tokio::spawn(relay::until_one_ends(ours, requests, messages));
        Ok(Box::pin(theirs))
    }
}
