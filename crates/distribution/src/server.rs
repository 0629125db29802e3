//! The registry server: OCI distribution specification 1.1 on HTTP/1.1, with or without TLS.

mod access;
mod audit;
mod auth;
mod blobs;
mod cache;
mod contents;
mod entries;
mod far;
mod filebody;
mod gc;
mod holds;
mod incoming;
mod limits;
mod lists;
mod live;
mod manifests;
mod metrics;
mod mirrors;
mod owner;
mod pages;
mod remote;
mod replicas;
mod reply;
mod request;
mod retention;
mod route;
mod settings;
mod signatures;
mod status;
mod store;
mod tls;
mod uploads;
mod usage;
mod wire;

pub(crate) use audit::timestamp;
pub use gc::Collected;
pub use settings::{Auth, Settings, Tls};
pub use tls::acceptor;

use crate::client::RequestBody;
use contents::{Contents, Here};
use entries::fs::FileEntries;
use entries::s3::BucketEntries;
use entries::{Entries, Folder};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use live::Live;
use metrics::Metrics;
use owner::Owner;
use remote::Remote;
use reply::Refusal;
use request::Peer;
use std::fs::{File, TryLockError};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use uploads::Uploads;
use wharf_model::blobs::Blobs;
use wharf_model::{Error, ErrorKind, Result};
use wire::{Parts, Wire};

/// A client has this long to send a request's head; idle connections end then too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections at a time: each takes a descriptor, and up to two buffers. More wait until one of these ends; idle
/// ones end by themselves.
const MAX_CONNECTIONS: usize = 1024;
/// Bytes that a connection reads at once: the more, the fewer writes of a push, and the more memory each takes.
const MAX_BUFFER: usize = 128 << 10;
/// Requests under way have this long to end when the server is stopped.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Certificates and keys are looked at for changes so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A registry's places and its settings.
pub struct Registry {
    /// Where tags and links are kept.
    pub root: PathBuf,
    /// Where content is kept.
    pub blobs: Arc<dyn Blobs>,
    /// What the configuration file says.
    pub settings: Settings,
}

/// A registry with the simplest settings.
pub struct Config {
    /// Where tags and links are kept.
    pub root: PathBuf,
    /// Where content is kept.
    pub blobs: Arc<dyn Blobs>,
    /// A file of `user:bcrypt-hash` lines; everyone is let in without one.
    pub htpasswd: Option<PathBuf>,
    /// Certificate chain and key, PEM files; plain HTTP without them.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl From<Config> for Registry {
    fn from(config: Config) -> Self {
        let tls = config.tls.map(|(certificate, key)| Tls {
            certificate,
            key,
            client_ca: None,
            client_optional: false,
        });
        let auth = Auth { htpasswd: config.htpasswd, ..Auth::default() };
        let settings = Settings { tls, auth, ..Settings::default() };
        Self { root: config.root, blobs: config.blobs, settings }
    }
}

struct App {
    root: PathBuf,
    store: Store,
    uploads: Uploads,
    metrics: Metrics,
    turns: mirrors::Turns,
    fetches: mirrors::Fetches,
    notes: replicas::Notes,
    live: RwLock<Arc<Live>>,
    /// With a bucket: whose its prefix is.
    owner: Option<Owner>,
    /// Locked as long as the registry is open.
    _lock: File,
}

impl App {
    fn open(config: Registry) -> Result<Self> {
        entries::fs::make_dir(&config.root)?;
        let lock = lock(&config.root)?;
        let remote = config.settings.storage.as_ref().map(|storage| Remote::open(&storage.s3)).transpose()?;
        let owner = remote.as_ref().map(|remote| Owner::take(remote, &config.root)).transpose()?;
        let (entries, contents): (Box<dyn Entries>, Arc<dyn Contents>) = match remote {
            None => (Box::new(FileEntries::open(&config.root)?), Arc::new(Here(config.blobs))),
            Some(remote) => {
                let stored = contents::s3::Stored::open(remote.clone(), config.blobs)?;
                (Box::new(BucketEntries(remote)), Arc::new(stored))
            }
        };
        let live = Live::open(config.settings, &config.root, true)?;
        Ok(Self {
            uploads: Uploads::open(&config.root, Arc::clone(&contents))?,
            store: Store::new(entries, contents),
            metrics: Metrics::default(),
            turns: mirrors::Turns::default(),
            fetches: mirrors::Fetches::default(),
            notes: replicas::Notes::open(&config.root)?,
            live: RwLock::new(Arc::new(live)),
            root: config.root,
            owner,
            _lock: lock,
        })
    }

    /// Refuses to change a bucket that another registry has.
    fn check_owner(&self) -> Result<()> {
        self.owner.as_ref().map_or(Ok(()), Owner::check)
    }

    /// Gives the bucket back. Blocks.
    fn leave(&self) {
        if let Some(Err(error)) = self.owner.as_ref().map(Owner::leave) {
            tracing::warn!(error = error.full(), "the bucket stays marked for a minute");
        }
    }

    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn apply(&self, settings: Settings) -> Result<()> {
        if settings.storage != self.live().settings.storage {
            return Err(Error::invalid(
                "storage cannot be changed while the registry serves: start it again",
            ));
        }
        let live = Arc::new(Live::open(settings, &self.root, true)?);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    /// Opens the same settings again, unless others came meanwhile.
    fn reopen(&self, old: &Arc<Live>) -> Result<()> {
        let new = Arc::new(Live::open(old.settings.clone(), &self.root, true)?);
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&live, old) {
            *live = new;
        }
        Ok(())
    }

    /// Whether the root and the storage can be read.
    fn is_ready(&self) -> bool {
        std::fs::read_dir(&self.root).is_ok_and(|mut entries| entries.next().is_some_and(|e| e.is_ok()))
            && self.store.entries.page(Folder::Catalog, None, 1).is_ok()
    }

    fn collect(&self, dry_run: bool) -> Result<Collected> {
        self.check_owner()?;
        let live = self.live();
        let collected = gc::collect(&self.store, &live.settings, dry_run)?;
        if !dry_run {
            self.notes.add_collected(&live, &collected)?;
            let metrics = &self.metrics;
            metrics.collections.fetch_add(1, Ordering::Relaxed);
            metrics.collected_blobs.fetch_add(collected.blobs.len() as u64, Ordering::Relaxed);
            metrics.collected_bytes.fetch_add(collected.bytes, Ordering::Relaxed);
            metrics.unreadable.store(collected.unreadable.len() as u64, Ordering::Relaxed);
            metrics.stored_bytes.store(collected.kept.0, Ordering::Relaxed);
            metrics.stored_blobs.store(collected.kept.1, Ordering::Relaxed);
        }
        Ok(collected)
    }
}

/// The bytes of a file from one up to, not with, another, as a body.
pub(crate) fn file_body(file: File, start: u64, end: u64) -> RequestBody {
    filebody::body(file, start, end, None)
}

/// Keeps other processes from the same directory; the kernel unlocks it when this one ends, however it does.
fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| entries::fs::failed("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::conflict(format!(
            "{} is in use by another registry: give this one a directory of its own, or stop the other",
            root.display()
        ))),
        Err(TryLockError::Error(e)) => Err(entries::fs::failed("lock", &path, e)),
    }
}

/// Tries settings without serving them: opens the files that they name.
///
/// # Errors
/// `Invalid`, with the reason.
pub fn check(settings: Settings, root: &Path) -> Result<()> {
    settings.storage.as_ref().map(|storage| Remote::open(&storage.s3)).transpose()?;
    Live::open(settings, root, false).map(drop)
}

/// Collects in a registry that is not served.
///
/// # Errors
/// `Conflict` when it is.
pub fn collect(config: Registry, dry_run: bool) -> Result<Collected> {
    let app = App::open(config)?;
    let collected = app.collect(dry_run);
    app.leave();
    collected
}

/// A registry that is bound to an address and not yet served.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
}

/// Changes a registry while it serves.
#[derive(Clone)]
pub struct Control(Arc<App>);

impl Control {
    /// Serves by other settings from the next request on.
    ///
    /// # Errors
    /// `Invalid` when they cannot be; the ones in force stay.
    pub fn apply(&self, settings: Settings) -> Result<()> {
        self.0.apply(settings)
    }

    /// Opens the files anew that the settings name.
    pub fn reopen(&self) -> Result<()> {
        self.0.reopen(&self.0.live())
    }

    /// Collects what nothing names. Blocks: it belongs on a thread that may.
    pub fn collect(&self, dry_run: bool) -> Result<Collected> {
        self.0.collect(dry_run)
    }
}

impl Server {
    /// Opens the storage and binds the address.
    pub async fn bind(registry: impl Into<Registry>, address: SocketAddr) -> Result<Self> {
        let registry = registry.into();
        // A store elsewhere is waited for.
        let app = tokio::task::spawn_blocking(|| App::open(registry)).await.map_err(uploads::joined)??;
        let listener = TcpListener::bind(address).await.map_err(|e| {
            let text = format!("listen on {address}: choose another address or stop what has this one");
            Error::wrap(ErrorKind::Conflict, text, e)
        })?;
        Ok(Self { app: Arc::new(app), listener })
    }

    /// What changes this registry while it serves.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.app))
    }

    /// The address that clients connect to.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener
            .local_addr()
            .map_err(|e| Error::wrap(ErrorKind::Internal, "read the listener's address", e))
    }

    /// Serves until `shutdown` is ready, then lets requests under way end.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let tasks = TaskTracker::new();
        let (stop, stopped) = tokio::sync::watch::channel(());
        let upkeep = tokio::spawn(upkeep(Arc::clone(&self.app)));
        let copier = tokio::spawn(replicas::run(Arc::clone(&self.app)));
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tokio::pin!(shutdown);
        loop {
            let place = tokio::select! {
                () = &mut shutdown => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let (stream, address) = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, most likely: the connections that end give some back.
                        tracing::warn!(%error, "accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            // Small answers must not wait for more to come.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "set TCP_NODELAY");
            }
            let served = accepted(Arc::clone(&self.app), stream, address, stopped.clone());
            tasks.spawn(async move {
                served.await;
                drop(place);
            });
        }
        drop(self.listener);
        upkeep.abort();
        copier.abort();
        drop(stop);
        tasks.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
            tracing::warn!("some registry requests were cut off");
        }
        self.app.uploads.keep_all().await;
        let app = self.app;
        if let Err(error) = tokio::task::spawn_blocking(move || app.leave()).await {
            tracing::warn!(%error, "the bucket stays marked for a minute");
        }
    }
}

/// What is done by the clock: changed certificates are read, and garbage is collected.
async fn upkeep(app: Arc<App>) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut collected = tokio::time::Instant::now();
    let mut renewed = collected;
    loop {
        tick.tick().await;
        let live = app.live();
        let done = blocking(&app, |app| {
            let live = app.live();
            if live.is_outdated() {
                // A certificate is replaced in two steps, its key after it: the old pair serves until the new one fits.
                app.reopen(&live)?;
                tracing::info!("certificates and keys were read again");
            }
            Ok(())
        });
        if let Err(refusal) = done.await {
            tracing::warn!(message = refusal.message, "what changed on the disk cannot be used");
        }
        let every = live.settings.mirrors.iter().filter_map(|mirror| mirror.every).map(|span| span.0).min();
        if every.is_some_and(|every| renewed.elapsed() >= every) {
            renewed = tokio::time::Instant::now();
            if let Err(error) = mirrors::renew_all(&app, &live).await {
                tracing::error!(error = error.full(), "renew what is mirrored");
            }
        }
        if live.settings.gc.every.is_some_and(|every| collected.elapsed() >= every.0) {
            collected = tokio::time::Instant::now();
            match blocking(&app, |app| app.collect(false)).await {
                Ok(c) => tracing::info!(
                    tags = c.tags.len(),
                    manifests = c.manifests.len(),
                    blobs = c.blobs.len(),
                    bytes = c.bytes,
                    unreadable = c.unreadable.len(),
                    "collected"
                ),
                Err(refusal) => tracing::error!(message = refusal.message, "garbage collection"),
            }
        }
    }
}

async fn accepted(
    app: Arc<App>,
    stream: TcpStream,
    address: SocketAddr,
    stopped: tokio::sync::watch::Receiver<()>,
) {
    app.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let acceptor = app.live().tls.clone();
    match acceptor {
        None => {
            let peer = Peer { address, tls: false, certificate: None };
            let (wire, parts) = Wire::new(stream);
            connection(Arc::clone(&app), wire, peer, Some(parts), stopped).await;
        }
        Some(acceptor) => match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
                let certificate = certificate.and_then(|c| auth::common_name(c));
                let peer = Peer { address, tls: true, certificate };
                connection(Arc::clone(&app), stream, peer, None, stopped).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
    app.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn connection<S>(
    app: Arc<App>,
    stream: S,
    peer: Peer,
    parts: Option<Parts>,
    mut stopped: tokio::sync::watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if let Some(parts) = &parts {
            request.extensions_mut().insert(parts.clone());
        }
        let (app, peer) = (Arc::clone(&app), Arc::clone(&peer));
        let request = incoming::request(request);
        async move { Ok::<_, std::convert::Infallible>(request::answer(app, &peer, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // Buffers are written as they are: `wire` knows a file's by its address (and pipeline_flush would copy them).
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .writev(true)
        .max_buf_size(MAX_BUFFER);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let result = tokio::select! {
        result = &mut served => result,
        // The sender is dropped, never sent on.
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "registry connection");
    }
}

/// Disk work off the threads that serve connections.
async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let app = Arc::clone(app);
    let result = tokio::task::spawn_blocking(move || work(&app)).await.map_err(uploads::joined)?;
    Ok(result?)
}
