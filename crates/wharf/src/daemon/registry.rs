//! The registry of the daemon: `registry` in its configuration file. It ends with the daemon.

use super::config::Config;
use crate::registry::{LISTEN, is_open_to_all};
use anyhow::{Context, anyhow};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wharf_distribution::server::{Control, Server, Settings};
use wharf_storage::blobs::FileBlobs;

/// An upload that nobody went on with for a day is given up, as the server does while it runs.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A registry that serves.
pub(super) struct Served {
    control: Control,
    settings: Settings,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Reads the section of the file.
pub(super) fn settings(value: &serde_json::Value) -> anyhow::Result<Settings> {
    Settings::parse(&value.to_string()).map_err(|e| anyhow!(e.full()))
}

/// Where the registry's blobs are.
pub(super) fn content(settings: &Settings, data_root: &Path) -> PathBuf {
    root(settings, data_root).join("content")
}

fn root(settings: &Settings, data_root: &Path) -> PathBuf {
    settings.root.clone().unwrap_or_else(|| data_root.join("registry"))
}

impl Served {
    /// Serves what the configuration asks for, if it does. Blobs that the engine has are not stored a second time.
    pub(super) async fn start(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(settings) = config.live.registry.clone() else { return Ok(None) };
        let plain = |e: wharf_model::Error| anyhow!("the registry: {}", e.full());
        let root = root(&settings, &config.data_root);
        let content = content(&settings, &config.data_root);
        std::fs::create_dir_all(&content).with_context(|| format!("make {}", content.display()))?;
        let blobs = FileBlobs::open(&content).map_err(plain)?.beside(&config.data_root.join("content"));
        blobs.sweep("registry", ABANDONED).map_err(plain)?;
        let listen = match settings.listen {
            Some(listen) => listen,
            None => LISTEN.parse().context("the default address")?,
        };
        let registry =
            wharf_distribution::server::Registry { root, blobs: Arc::new(blobs), settings: settings.clone() };
        let server = Server::bind(registry, listen).await.map_err(plain)?;
        let address = server.address().map_err(plain)?;
        tracing::info!("registry listens on {address}");
        if is_open_to_all(&settings) && !address.ip().is_loopback() {
            tracing::warn!("everybody who reaches {address} may push and pull: \"auth\" asks for a password");
        }
        let (stop, stopped) = oneshot::channel();
        let control = server.control();
        let task = tokio::spawn(server.run(async move {
            // The sender's end is news as well.
            drop(stopped.await);
        }));
        Ok(Some(Self { control, settings, stop, task }))
    }

    /// Serves by other settings from the next request on.
    pub(super) fn apply(&mut self, settings: &Settings) {
        if (settings.listen, &settings.root) != (self.settings.listen, &self.settings.root) {
            tracing::warn!("the registry's listen and root are taken at the next start");
        }
        match self.control.apply(settings.clone()) {
            Ok(()) => self.settings = settings.clone(),
            Err(error) => {
                tracing::error!(error = error.full(), "the registry's configuration stays as it was");
            }
        }
    }

    /// Lets requests under way end.
    pub(super) async fn end(self) {
        // One that has ended already hears nothing.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the registry ended early");
        }
    }
}
