//! Doing it over the API: each verb's work, off the terminal.

pub mod build;
pub mod create;
pub mod down;
pub mod fetch;
pub mod hooks;
pub mod images;
pub mod logs;
pub mod models;
pub mod networks;
pub mod oneoff;
mod provider;
pub mod publish;
pub mod report;
pub mod secrets;
pub mod solve;
pub mod state;
pub mod up;
pub mod volumes;
pub mod wait;

pub use report::{Report, Status};

use crate::error::Error;
use crate::plan::Observed;
use crate::project::Loaded;
use solve::Solve;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use wharf_docker_api::client::{Body, Call, Client, Query, segment};

/// Where a build's Dockerfile comes from.
#[derive(Debug, Clone, Copy)]
pub enum Dockerfile<'a> {
    /// A path.
    File(&'a Path),
    /// Its text.
    Inline(&'a str),
}

/// What the command line does for us: files of this machine, credentials.
pub trait Outside {
    /// A build context as an archive, and the Dockerfile's name in it.
    fn pack(&self, context: &Path, dockerfile: Dockerfile<'_>) -> Result<(String, Body), Error>;

    /// Builds by BuildKit's API, and says how it goes in lines.
    fn solve<'f>(
        &'f self,
        client: &'f Client,
        build: Solve<'f>,
        say: &'f mut (dyn FnMut(&str) + 'f),
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'f>>;

    /// The header with credentials for the registry of an image.
    fn auth(&self, image: &str) -> Result<String, Error>;

    /// The header with all credentials, for builds.
    fn all_auth(&self) -> Result<String, Error>;

    /// Variables of proxies that containers get.
    fn proxies(&self) -> Vec<(String, String)>;

    /// A plugin of Docker's command line: `docker-NAME`.
    fn plugin(&self, name: &str) -> Option<PathBuf>;

    /// A provider's program: such a plugin, or else what `PATH` has by that name.
    fn program(&self, name: &str) -> Option<PathBuf>;
}

/// Told just before a container starts, while it waits: whoever wants all of its output joins it then.
pub trait Starting {
    /// Does what has to be done before; the start waits for it.
    fn before<'f>(&'f self, one: &'f Observed) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'f>>;
}

/// What every work is done with.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The engine.
    pub client: &'a Client,
    /// The project.
    pub loaded: &'a Loaded,
    /// Who is told how it goes.
    pub report: &'a dyn Report,
    /// What only the command line can.
    pub outside: &'a dyn Outside,
    /// How many calls go at a time.
    pub limit: &'a tokio::sync::Semaphore,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Who is told before containers start.
    pub starting: Option<&'a dyn Starting>,
}

impl Run<'_> {
    /// One change of the engine's, when it is its turn; nothing of the answer is wanted.
    pub(crate) async fn change(&self, what: &str, call: Call) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let _turn = self.limit.acquire().await;
        self.client.done(call).await.map_err(|source| Error::engine(what, source))
    }

    /// Something done to a container, told before and after.
    pub(crate) async fn act(
        &self,
        name: &str,
        verbs: (&'static str, &'static str),
        call: Call,
    ) -> Result<(), Error> {
        let what = format!("Container {name}");
        self.report.step(&what, verbs.0, Status::Working);
        match self.change("", call).await {
            Ok(()) => {
                self.report.step(&what, verbs.1, Status::Done);
                Ok(())
            }
            Err(error) => {
                self.report.step(&what, &error.to_string(), Status::Failed);
                Err(error)
            }
        }
    }
}

/// The path of a container's call.
pub fn container(id: &str, call: &str) -> String {
    format!("/containers/{}{call}", segment(id))
}

/// A call to end a container, within some seconds.
pub(crate) fn stop_call(id: &str, timeout: Option<i64>) -> Call {
    Call::post(container(id, "/stop")).query(Query::new().maybe("t", timeout))
}

/// The first failure of several, after all are through.
pub(crate) fn all_done(results: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut first = Ok(());
    for one in results {
        first = first.and(one);
    }
    first
}
