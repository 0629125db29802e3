//! A bucket for the seams that block: each of their methods waits for the store.

use super::settings::S3;
use crate::client::ClientConfig;
use crate::s3::{Bucket, Credentials, Place};
use std::future::Future;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use wharf_model::{Error, ErrorKind, Result};

/// A bucket, and what waits for it. Methods that wait are for threads that may block.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) bucket: Arc<Bucket>,
    prefix: Arc<str>,
    waiting: Waiting,
}

#[derive(Clone)]
enum Waiting {
    /// The runtime that serves.
    Handle(Handle),
    /// One of its own, where there is no other.
    Own(Arc<Runtime>),
}

impl Remote {
    /// Reads the keys; nothing is contacted yet.
    pub(super) fn open(settings: &S3) -> Result<Self> {
        let credentials =
            Credentials::open(settings.credentials_file.clone(), |name| std::env::var(name).ok())?;
        let place = Place {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            bucket: settings.bucket.clone(),
            path_style: settings.path_style,
        };
        let config = ClientConfig::default();
        let certs_dir = settings.certs_dir.clone().unwrap_or(config.certs_dir.clone());
        let bucket = Bucket::new(&place, credentials, &ClientConfig { certs_dir, ..config })?;
        let waiting = match Handle::try_current() {
            Ok(handle) => Waiting::Handle(handle),
            Err(_) => {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
                let runtime = runtime.map_err(|e| Error::wrap(ErrorKind::Internal, "start a runtime", e))?;
                Waiting::Own(Arc::new(runtime))
            }
        };
        let prefix = match settings.prefix.trim_matches('/') {
            "" => Arc::from(""),
            prefix => Arc::from(format!("{prefix}/")),
        };
        Ok(Self { bucket: Arc::new(bucket), prefix, waiting })
    }

    /// A key of ours.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Waits for the store.
    pub(super) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.wait_for(work)
    }

    /// Waits for anything.
    pub(super) fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.waiting {
            Waiting::Handle(handle) => handle.block_on(work),
            Waiting::Own(runtime) => runtime.block_on(work),
        }
    }
}
