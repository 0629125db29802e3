//! BuildKit's API: sessions, and builds whose steps are our own builder's.
//!
//! ```text
//! docker buildx ──POST /grpc──▶ control: Solve, Status ─▶ bridge: Solve, Return ─▶ frontend ─▶ wharf-build ─▶ export
//!               ◀─POST /session── sessions: files, secrets, agents, credentials ◀─────┘               │
//!               ◀──────────────────────────── archives, files ◀───────────────────────────────────────┘
//! ```
//!
//! The client names the frontend `dockerfile.v0`, which is our builder. Low-level graphs (LLB) and other frontends are refused.
#![forbid(unsafe_code)]

mod attributes;
mod bridge;
mod builds;
mod cache;
mod caller;
mod control;
mod describe;
mod directory;
mod error;
mod export;
mod frontend;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inputs;
mod kept;
mod needs;
mod place;
mod progress;
mod questions;
mod sessions;
mod steps;
mod upload;

pub use kept::Directory;
pub use sessions::{Hello, Sessions};
pub use wharf_grpc::Status;

use builds::Builds;
use kept::Kept;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use wharf_build::Builder;
use wharf_engine::events::Events;
use wharf_engine::images::Image;
use wharf_grpc::server::{Call, Reply, Service, serve};

/// The builder as BuildKit's clients see it. Cheap to clone.
#[derive(Clone)]
pub struct BuildKit {
    builder: Builder,
    events: Events,
    /// The engine's id.
    id: String,
    gateway: Gateway,
    sessions: Sessions,
    builds: Builds,
    kept: Kept,
}

/// Finds the host's address as containers see it.
pub type Gateway = Arc<dyn Fn() -> Option<IpAddr> + Send + Sync>;

impl BuildKit {
    /// Over a builder; `id` names the engine, and what happens is told to `events`.
    pub fn new(builder: Builder, events: Events, id: String, gateway: Gateway) -> Self {
        let (sessions, builds, kept) = Default::default();
        Self { builder, events, id, gateway, sessions, builds, kept }
    }

    /// The sessions of clients.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Serves a client's calls until it closes the connection.
    pub async fn serve<C>(&self, connection: C) -> Result<(), Status>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        serve(connection, Arc::new(self.clone())).await
    }

    /// The directories of clients as they last came.
    pub fn directories(&self) -> Vec<Directory> {
        self.kept.list()
    }

    /// Lets go of them; returns which they were.
    pub fn forget(&self) -> Vec<Directory> {
        self.kept.list().into_iter().filter(|known| self.kept.remove(&known.id)).collect()
    }

    fn publish(&self, action: &str, image: &Image, name: &str) {
        let mut attributes = image.config.config.labels.clone();
        attributes.insert("name".to_owned(), name.to_owned());
        self.events.publish("image", action, image.id.as_str(), attributes);
    }
}

#[async_trait::async_trait]
impl Service for BuildKit {
    async fn call(&self, call: Call) -> Result<Reply, Status> {
        let path = call.method.clone();
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((&path, ""));
        match service {
            "moby.buildkit.v1.Control" => self.control(method, call).await,
            "moby.buildkit.v1.frontend.LLBBridge" => self.bridge(method, call).await,
            "grpc.health.v1.Health" if method == "Check" => {
                Ok(Reply::one(&wharf_grpc::proto::session::Health { status: 1 }))
            }
            _ => Err(Status::unimplemented(format!("unknown service {service}"))),
        }
    }
}
