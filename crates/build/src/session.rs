//! What whoever builds gives to a build besides files: secrets and SSH agents.
//!
//! They are asked for when a step needs them, and never kept: not in a layer, not in the cache, not in a log.

use crate::Bytes;
use async_trait::async_trait;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use wharf_model::Result;

/// A connection to an agent.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// One more connection of [`Session::agent`].
pub type Connection = Pin<Box<dyn Duplex>>;

/// The one who builds, as far as a build may ask.
#[async_trait]
pub trait Session: Send + Sync {
    /// The bytes of a secret. `None`: there is no such secret.
    async fn secret(&self, id: &str) -> Result<Option<Bytes>>;
    /// Whether there is an SSH agent of this name; `default` is meant where a Dockerfile names none.
    async fn has_agent(&self, id: &str) -> Result<bool>;
    /// One more connection to that agent. `NotFound` when there is no such agent.
    async fn agent(&self, id: &str) -> Result<Connection>;
}

/// Nobody to ask: no secrets, no agents.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSession;

#[async_trait]
impl Session for NoSession {
    async fn secret(&self, _id: &str) -> Result<Option<Bytes>> {
        Ok(None)
    }

    async fn has_agent(&self, _id: &str) -> Result<bool> {
        Ok(false)
    }

    async fn agent(&self, id: &str) -> Result<Connection> {
        Err(wharf_model::Error::not_found(format!("no SSH agent {id:?} was given to this build")))
    }
}
