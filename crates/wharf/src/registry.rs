//! `wharf registry`: the embedded registry, and lines for its password file.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use wharf_distribution::server::{Config, Server};
use wharf_storage::blobs::FileBlobs;

/// A registry for images (OCI distribution specification)
#[derive(Debug, Parser)]
#[command(name = "wharf registry")]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a registry
    Serve(Serve),
    /// Print a line for a password file; the password is read from standard input
    Htpasswd {
        /// The user's name
        user: String,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Address and port
    #[arg(short, long, default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Directory of the images
    #[arg(long, value_name = "DIR", default_value = "/var/lib/wharf-registry")]
    root: PathBuf,
    /// File with user:bcrypt-hash lines; without one everybody is let in
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
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
        Verb::Serve(args) => serve(args),
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

fn serve(args: Serve) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let content = args.root.join("content");
        std::fs::create_dir_all(&content).with_context(|| format!("make {}", content.display()))?;
        let blobs = FileBlobs::open(&content).map_err(|e| anyhow::anyhow!(e.full()))?;
        let config = Config {
            root: args.root,
            blobs: Arc::new(blobs),
            htpasswd: args.htpasswd,
            tls: args.tls_cert.zip(args.tls_key),
        };
        let open = config.htpasswd.is_none();
        let server = Server::bind(config, args.listen).await.map_err(|e| anyhow::anyhow!(e.full()))?;
        let address = server.address().map_err(|e| anyhow::anyhow!(e.full()))?;
        tracing::info!("registry listens on {address}");
        if open && !address.ip().is_loopback() {
            tracing::warn!(
                "everybody who reaches {address} may push and pull: give --htpasswd to ask for a password"
            );
        }
        let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
        server
            .run(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await;
        Ok(())
    })
}

fn htpasswd(user: &str) -> anyhow::Result<()> {
    anyhow::ensure!(!user.is_empty() && !user.contains(':'), "a user's name is not empty and has no colon");
    let mut password = String::new();
    std::io::stdin().read_line(&mut password).context("read the password")?;
    let hash = bcrypt::hash(password.trim_end_matches(['\r', '\n']), 10).context("hash the password")?;
    writeln!(std::io::stdout(), "{user}:{hash}").context("print the line")
}
