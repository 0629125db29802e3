//! `wharf registry`: the embedded registry.

mod gc;
mod serve;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wharf_distribution::server::{Auth, Registry, Settings, Tls};
use wharf_storage::blobs::FileBlobs;

/// Where the images are when nothing else is said.
const ROOT: &str = "/var/lib/wharf-registry";
/// Where it listens when nothing else is said: for this machine only.
pub(crate) const LISTEN: &str = "127.0.0.1:5000";
/// An upload that nobody went on with for a day is given up, as the server does while it runs.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Parser)]
#[command(name = "wharf registry", about = "An OCI registry", disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a registry
    Serve(serve::Serve),
    /// Remove what nothing names, in a registry that is not served (one that is does it by itself: "gc" in its file)
    Gc(gc::Gc),
    /// Print a line for a password file; the password is read from standard input
    Htpasswd {
        /// The user's name
        user: String,
    },
}

/// Where a registry is, and its settings.
#[derive(Debug, Args)]
struct Place {
    /// Configuration file, JSON
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the images [default: /var/lib/wharf-registry]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl Place {
    fn settings(&self) -> anyhow::Result<Settings> {
        match &self.config {
            Some(file) => Settings::read(file).map_err(|e| anyhow::anyhow!(e.full())),
            None => Ok(Settings::default()),
        }
    }

    fn root(&self, settings: &Settings) -> PathBuf {
        self.root.clone().or_else(|| settings.root.clone()).unwrap_or_else(|| ROOT.into())
    }
}

/// Whether nobody is asked who he is.
pub(crate) fn is_open_to_all(settings: &Settings) -> bool {
    settings.auth == Auth::default()
        && settings.access.is_empty()
        && settings.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none())
}

/// Opens the storage below a directory.
fn open(root: &Path, settings: Settings) -> anyhow::Result<Registry> {
    let content = root.join("content");
    std::fs::create_dir_all(&content).with_context(|| format!("make {}", content.display()))?;
    let blobs = FileBlobs::open(&content).map_err(|e| anyhow::anyhow!(e.full()))?;
    // What a crash left half written is gone, but for uploads that their clients may go on with.
    blobs.sweep("registry", ABANDONED).map_err(|e| anyhow::anyhow!(e.full()))?;
    Ok(Registry { root: root.to_owned(), blobs: Arc::new(blobs), settings })
}

/// Its command line, for completion and manual pages.
pub(crate) fn command() -> clap::Command {
    Command::command().name("registry")
}

/// Runs the command line. Returns the exit code.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let command = match Command::try_parse_from(args) {
        Ok(command) => command,
        Err(e) => {
            let _ = e.print();
            return e.exit_code();
        }
    };
    let result = match command.verb {
        Verb::Serve(args) => args.run(),
        Verb::Gc(args) => args.run(),
        Verb::Htpasswd { user } => htpasswd(&user),
    };
    match result {
        Ok(()) => 0,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "wharf registry: {e:#}");
            1
        }
    }
}

fn htpasswd(user: &str) -> anyhow::Result<()> {
    anyhow::ensure!(!user.is_empty() && !user.contains(':'), "a user's name is not empty and has no colon");
    let mut password = String::new();
    std::io::stdin().read_line(&mut password).context("read the password")?;
    let hash = bcrypt::hash(password.trim_end_matches(['\r', '\n']), 10).context("hash the password")?;
    writeln!(std::io::stdout(), "{user}:{hash}").context("print the line")
}
