//! What every command is given.

use crate::config::ConfigFile;
use crate::failure::Failure;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wharf_docker_api::client::{Client, Endpoint};

/// Starts an engine that listens on a socket, and returns when it does. The error is for the user.
pub type StartDaemon = fn(&Path) -> Result<(), String>;

/// What the binary around the commands adds to them.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Called when no engine was named and none is there.
    pub start_daemon: Option<StartDaemon>,
    /// Commands that the binary handles before these, with what they do, for the help.
    pub commands: &'static [(&'static str, &'static str)],
    /// The same with their flags, for completion and manual pages.
    pub programs: fn() -> Vec<clap::Command>,
    /// Version of the program.
    pub version: &'static str,
}

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) config_dir: PathBuf,
    pub(crate) hooks: Hooks,
    /// No engine was named: the default one may be started.
    pub(crate) is_default_engine: bool,
    /// The name of the engine, `default` where flags, variables or nobody named one.
    pub(crate) chosen: String,
    /// What stands before a verb of `compose`.
    pub(crate) compose: crate::verb::compose::Globals,
}

impl Context {
    /// The engine's socket on its own machine: ours where we speak to one.
    pub(crate) fn engine_socket(&self) -> String {
        match self.client.endpoint() {
            Endpoint::Unix(path) => path.display().to_string(),
            _ => "/var/run/docker.sock".to_owned(),
        }
    }

    /// Makes sure that an engine is there, where one may be started.
    pub(crate) async fn engine(&self) -> Result<(), Failure> {
        let Err(error) = self.client.connect().await else { return Ok(()) };
        match (self.hooks.start_daemon, self.client.endpoint()) {
            (Some(start), Endpoint::Unix(socket)) if self.is_default_engine && error.is_absent() => {
                start(socket).map_err(Failure::new)?;
                Ok(self.client.connect().await?)
            }
            _ => Err(error.into()),
        }
    }

    /// The user's configuration.
    pub(crate) fn config(&self) -> Result<ConfigFile, Failure> {
        ConfigFile::load(&self.config_dir)
    }
}

/// Writes to standard output. A reader that went away ends the command quietly.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::with_status(0, "")),
        result => result.map_err(|e| Failure::new(format!("write to standard output: {e}"))),
    }
}

/// Writes a line to standard output.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    print(format!("{text}\n"))
}

/// Writes a line to standard error; where that fails there is nobody to tell.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Asks a question and tells whether the answer was yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    print(format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// Applies something to each name; prints the name, or the error, and goes on.
pub(crate) async fn each<F, T>(names: &[String], mut action: F) -> crate::failure::Outcome
where
    F: AsyncFnMut(&str) -> Result<T, Failure>,
    T: Into<Option<String>>,
{
    let mut status = 0;
    for name in names {
        match action(name).await {
            Ok(shown) => {
                if let Some(shown) = shown.into() {
                    line(shown)?;
                }
            }
            Err(failure) => {
                note(&failure);
                status = failure.status;
            }
        }
    }
    Ok(status)
}
