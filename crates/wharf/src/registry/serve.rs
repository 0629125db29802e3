//! `wharf registry serve`.

use super::{LISTEN, Place, Settings, Tls, is_open_to_all, open};
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use wharf_distribution::server::{Control, Server, check};

/// The configuration file is looked at for changes so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Threads that wait for the disk. Each has a stack and buffers; more than this does no disk good.
const MAX_BLOCKING: usize = 16;

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    place: Place,
    /// Address and port [default: 127.0.0.1:5000]
    #[arg(short, long)]
    listen: Option<SocketAddr>,
    /// File with user:bcrypt-hash lines; without one everybody is let in
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Check the configuration and the files it names, and end
    #[arg(long)]
    check: bool,
}

impl Serve {
    /// The file's settings; a flag goes before what the file says.
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = self.place.settings()?;
        if let Some(users) = &self.htpasswd {
            settings.auth.htpasswd = Some(users.clone());
        }
        if let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) {
            settings.tls = Some(Tls { certificate, key, client_ca: None, client_optional: false });
        }
        Ok(settings)
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        let settings = self.settings()?;
        let root = self.place.root(&settings);
        if self.check {
            check(settings, &root).map_err(|e| anyhow::anyhow!(e.full()))?;
            return writeln!(std::io::stdout(), "the configuration is good").context("print");
        }
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(MAX_BLOCKING)
            .enable_all()
            .build()
            .context("start the runtime")?;
        runtime.block_on(self.serve(settings, root))
    }

    async fn serve(self, settings: Settings, root: PathBuf) -> anyhow::Result<()> {
        let default = LISTEN.parse().context("the default address")?;
        let listen = self.listen.or(settings.listen).unwrap_or(default);
        let open_to_all = is_open_to_all(&settings);
        let registry = open(&root, settings)?;
        let server = Server::bind(registry, listen).await.map_err(|e| anyhow::anyhow!(e.full()))?;
        let address = server.address().map_err(|e| anyhow::anyhow!(e.full()))?;
        tracing::info!("registry listens on {address}");
        if open_to_all && !address.ip().is_loopback() {
            tracing::warn!(
                "everybody who reaches {address} may push and pull: give --htpasswd to ask for a password"
            );
        }
        let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
        let hangup = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
        let reload = tokio::spawn(reload(self, server.control(), hangup));
        server
            .run(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await;
        reload.abort();
        Ok(())
    }

    fn modified(&self) -> Option<SystemTime> {
        self.place.config.as_ref().and_then(|file| std::fs::metadata(file).ok()?.modified().ok())
    }
}

/// Applies the configuration when it changed or SIGHUP comes; one that is wrong is logged, and the old one stays.
async fn reload(args: Serve, control: Control, mut hangup: tokio::signal::unix::Signal) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut read = args.modified();
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            _ = tick.tick() => {
                if args.modified() == read {
                    continue;
                }
            }
        }
        read = args.modified();
        let applied = args
            .settings()
            .and_then(|settings| control.apply(settings).map_err(|e| anyhow::anyhow!(e.full())));
        match applied {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
        }
    }
}
