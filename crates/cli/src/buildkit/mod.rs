//! Builds by BuildKit's API: what the classic call cannot carry, such as secrets and further contexts.
//!
//! ```text
//! POST /session   we serve: files, secrets, agents, credentials
//! POST /grpc      we call: Solve, and Status for its news
//! ```

mod directory;
mod output;
mod progress;
mod session;

pub(crate) use directory::Directory;
pub(crate) use output::{Output, Wanted};
pub(crate) use progress::Plain;
pub(crate) use session::{Agent, Offers, Secret};

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_docker_api::client::{Call, Client, Error};
use wharf_grpc::client::Channel;
use wharf_grpc::proto::control::{
    CacheOptions, Exporter, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
};
use wharf_grpc::{HeaderMap, Status};

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const STATUS: &str = "/moby.buildkit.v1.Control/Status";
/// What both connections become.
const PROTOCOL: &str = "h2c";
const SESSION_ID: &str = "x-docker-expose-session-uuid";
const SESSION_NAME: &str = "x-docker-expose-session-name";
const SESSION_METHOD: &str = "x-docker-expose-session-grpc-method";

/// One build.
#[derive(Default)]
pub(crate) struct Build {
    /// What the frontend `dockerfile.v0` is told.
    pub(crate) attributes: BTreeMap<String, String>,
    /// What the build may.
    pub(crate) entitlements: Vec<String>,
    /// What becomes of the result.
    pub(crate) exporters: Vec<Exporter>,
    /// Caches elsewhere.
    pub(crate) cache: Option<CacheOptions>,
    /// What the engine may ask for.
    pub(crate) offers: Offers,
}

impl Build {
    /// Adds a context: a directory is sent, anything else is an address for the engine.
    pub(crate) fn context(&mut self, name: &str, source: &str) -> Result<(), Failure> {
        let is_address = source.contains("://") || source.starts_with("git@");
        let value = if is_address {
            source.to_owned()
        } else {
            self.offers.directories.insert(name.to_owned(), Directory::open(source.as_ref())?);
            format!("local:{name}")
        };
        self.attributes.insert(format!("context:{name}"), value);
        Ok(())
    }
}

fn failed(doing: &str) -> impl Fn(Status) -> Failure {
    let doing = doing.to_owned();
    move |status| match doing.as_str() {
        "" => Failure::new(status.message),
        doing => Failure::new(format!("{doing}: {}", status.message)),
    }
}

/// Thirty-two hex digits that nobody else has.
fn new_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Failure::new("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Builds, and tells the news; what the exporters say. Dropping it ends the build.
pub(crate) async fn solve(
    client: &Client,
    build: Build,
    news: &mut dyn FnMut(&StatusResponse),
) -> Result<BTreeMap<String, String>, Failure> {
    let (session, reference) = (new_id()?, new_id()?);
    let call = Call::post("/session").header(SESSION_ID, &session)?.header(SESSION_NAME, "wharf")?;
    let call = session::METHODS.iter().try_fold(call, |call, method| call.also(SESSION_METHOD, method))?;
    let connection = client.upgrade(call, PROTOCOL).await.map_err(|e| match e {
        Error::Api { status: 404, .. } => Failure::new(
            "this engine has no BuildKit, which --secret, --ssh, --output and others are for: build without them",
        ),
        e => e.into(),
    })?;
    let serving = tokio::spawn(wharf_grpc::server::serve(connection, Arc::new(build.offers)));
    let connection = client.upgrade(Call::post("/grpc"), PROTOCOL).await?;
    let (channel, life) = Channel::connect(connection).await.map_err(failed("talk to the builder"))?;
    let living = tokio::spawn(life);
    let request = SolveRequest {
        reference: reference.clone(),
        session,
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: build.attributes,
        entitlements: build.entitlements,
        exporters: build.exporters,
        cache: build.cache,
        ..SolveRequest::default()
    };
    let solving = async { channel.unary::<SolveResponse>(SOLVE, &request).await };
    let (solved, watched) = tokio::join!(solving, watch(&channel, reference, news));
    serving.abort();
    living.abort();
    let solved = solved.map_err(failed(""))?;
    watched.map_err(failed("follow the build"))?;
    Ok(solved.exporter_response)
}

async fn watch(
    channel: &Channel,
    reference: String,
    news: &mut dyn FnMut(&StatusResponse),
) -> Result<(), Status> {
    let (requests, mut messages) = channel.stream(STATUS, HeaderMap::new())?;
    requests.send(&StatusRequest { reference }).await;
    drop(requests);
    while let Some(message) = messages.next::<StatusResponse>().await? {
        news(&message);
    }
    Ok(())
}
