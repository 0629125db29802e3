//! Images: what they are made of, their names, and how they come and go.
//!
//! ```text
//! registry ──pull──▶ blobs ──unpack──▶ layers      image record: configuration, layers, where each is kept
//! tar ──load/import──▶ ┘       ▲                    tag records: canonical reference → image id
//! snapshot ──commit──▶ ────────┘
//! ```
//!
//! An image is visible when its record is; everything it needs is there before. Blobs and layers that no
//! image names are garbage, except while a task holds them by a [`Lease`].

mod ahead;
mod check;
mod commit;
mod compress;
mod container;
mod copy;
mod follow;
mod import;
mod keep;
mod layers;
mod lease;
mod load;
mod pattern;
mod progress;
mod pull;
mod push;
mod query;
mod record;
mod remove;
mod save;
mod signatures;
mod tag;
mod unpack;
mod uses;

#[cfg(test)]
mod tests;

pub use check::{Checked, Finding, LogIn, Object, State};
pub use commit::NewImage;
pub use compress::plain;
pub use container::Commit;
pub use import::Import;
pub use keep::Compressed;
pub use pattern::glob;
pub use progress::{Event, Progress};
pub use query::{Details, HistoryLine, Listed};
pub use record::{Image, ImageLayer};
pub use remove::{Removed, User};

use lease::{Flights, Lease, Pending};
use record::Table;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wharf_distribution::client::Client;
use wharf_model::blobs::Blobs;
use wharf_model::records::Records;
use wharf_model::snapshots::Snapshots;
use wharf_model::{Error, ErrorKind, Result};

/// The image service. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    records: Arc<dyn Records>,
    blobs: Arc<dyn Blobs>,
    snapshots: Arc<dyn Snapshots>,
    client: Client,
    table: Arc<Mutex<Table>>,
    leases: lease::Leases,
    /// Transfers and stores of blobs.
    flights: Flights,
    /// Unpacking and placing of layers: a layer that is not wrapped has the digest of its blob, whose transfer it waits for.
    layer_flights: Flights,
    pending: Pending,
    uses: uses::Uses,
    signatures: signatures::Current,
    /// Held for reading by builds, whose images have no name yet.
    building: Arc<tokio::sync::RwLock<()>>,
    compressed: Compressed,
}

impl Images {
    /// Reads the records. Call [`Images::collect_garbage`] when snapshots are known, too.
    pub fn open(
        records: Arc<dyn Records>,
        blobs: Arc<dyn Blobs>,
        snapshots: Arc<dyn Snapshots>,
        client: Client,
    ) -> Result<Self> {
        let table = Table::read(&*records)?;
        let uses = uses::Uses::read(&*records, table.images.keys())?;
        let table = Arc::new(Mutex::new(table));
        Ok(Self {
            records,
            blobs,
            snapshots,
            client,
            table,
            leases: Lease::table(),
            flights: Flights::default(),
            layer_flights: Flights::default(),
            pending: Pending::default(),
            uses,
            signatures: signatures::Current::default(),
            building: Arc::default(),
            compressed: Compressed::default(),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change to it is one insertion or removal after its record is written.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held while an image is built: garbage collection waits for the next time.
    pub async fn building(&self) -> tokio::sync::OwnedRwLockReadGuard<()> {
        Arc::clone(&self.building).read_owned().await
    }

    /// Keeps builds from beginning; nothing while there are some.
    pub(crate) fn no_builds(&self) -> Option<tokio::sync::OwnedRwLockWriteGuard<()>> {
        Arc::clone(&self.building).try_write_owned().ok()
    }

    /// The registry client, for logins.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// Disk work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// The same at a client's pace.
async fn transfer<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    crate::transfer::run(work).await?
}

fn ended(error: tokio::task::JoinError) -> Error {
    Error::wrap(ErrorKind::Internal, "a task of the image service ended early", error)
}

/// What was given could not be copied into the store: the giver's fault, unless the disk is full.
fn uncopied(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let doing = doing.into();
    move |e| match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::wrap(ErrorKind::Internal, "keep what was read", e)
        }
        _ => Error::wrap(ErrorKind::Invalid, doing, e),
    }
}

fn io(doing: &str) -> impl FnOnce(std::io::Error) -> Error {
    let doing = doing.to_owned();
    move |e| Error::wrap(ErrorKind::Internal, doing, e)
}
