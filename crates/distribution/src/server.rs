//! The registry server: OCI distribution specification 1.1 on HTTP/1.1, with or without TLS.

mod auth;
mod blobs;
mod lists;
mod manifests;
mod reply;
mod route;
mod store;
mod tls;

pub use tls::acceptor;
mod uploads;

use auth::Htpasswd;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use reply::{API_VERSION, Refusal, Reply};
use route::{Route, Unrouted};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use uploads::Uploads;
use wharf_model::blobs::Blobs;
use wharf_model::{Error, ErrorKind, Result};

/// A client has this long to send a request's head; idle connections end then too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests under way have this long to end when the server is stopped.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// How a registry is served.
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

struct App {
    store: Store,
    uploads: Uploads,
    htpasswd: Option<Arc<Htpasswd>>,
}

/// A registry that is bound to an address and not yet served.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Server {
    /// Opens the storage and binds the address.
    pub async fn bind(config: Config, address: SocketAddr) -> Result<Self> {
        let app = App {
            store: Store::open(&config.root, Arc::clone(&config.blobs))?,
            uploads: Uploads::open(&config.root, config.blobs)?,
            htpasswd: config.htpasswd.map(Htpasswd::open).transpose()?.map(Arc::new),
        };
        let tls = config.tls.map(|(certificate, key)| acceptor(&certificate, &key, None)).transpose()?;
        let listener = TcpListener::bind(address).await.map_err(|e| {
            let text = format!("listen on {address}: choose another address or stop what has this one");
            Error::wrap(ErrorKind::Conflict, text, e)
        })?;
        Ok(Self { app: Arc::new(app), listener, tls })
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
        tokio::pin!(shutdown);
        loop {
            let stream = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
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
            let app = Arc::clone(&self.app);
            let stopped = stopped.clone();
            match self.tls.clone() {
                None => drop(tasks.spawn(connection(app, stream, stopped))),
                Some(acceptor) => drop(tasks.spawn(async move {
                    match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(app, stream, stopped).await,
                        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
                        Err(_) => tracing::debug!("TLS handshake took too long"),
                    }
                })),
            }
        }
        drop(self.listener);
        drop(stop);
        tasks.close();
        if tokio::time::timeout(SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
            tracing::warn!("some registry requests were cut off");
        }
        self.app.uploads.keep_all().await;
    }
}

/// Binds and serves a registry until `shutdown` is ready.
pub async fn serve(
    config: Config,
    address: SocketAddr,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<()> {
    Server::bind(config, address).await?.run(shutdown).await;
    Ok(())
}

async fn connection<S>(app: Arc<App>, stream: S, mut stopped: tokio::sync::watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, std::convert::Infallible>(answer(app, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).pipeline_flush(true);
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

async fn answer(app: Arc<App>, request: Request<Incoming>) -> Reply {
    let head = *request.method() == Method::HEAD;
    let mut reply = handle(app, request).await.unwrap_or_else(Refusal::into_reply);
    reply.headers_mut().insert(API_VERSION, http::HeaderValue::from_static("registry/2.0"));
    if head {
        // The length stays, the body goes.
        *reply.body_mut() = reply::empty(StatusCode::NO_CONTENT).into_body();
    }
    reply
}

async fn handle(app: Arc<App>, request: Request<Incoming>) -> Result<Reply, Refusal> {
    if let Some(users) = &app.htpasswd {
        let header = request.headers().get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        if !Arc::clone(users).allows(header).await {
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
            let mut reply = refusal.into_reply();
            reply::set(&mut reply, http::header::WWW_AUTHENTICATE, "Basic realm=\"Wharf registry\"");
            return Ok(reply);
        }
    }
    let route = route::parse(request.uri().path()).map_err(|e| match e {
        Unrouted::NotFound => {
            Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is nothing at this path")
        }
        Unrouted::Name(name) => {
            Refusal::new(StatusCode::NOT_FOUND, "NAME_INVALID", format!("invalid repository name {name:?}"))
        }
        Unrouted::Digest(text) => Refusal::digest_invalid(format!("invalid digest {text:?}")),
        Unrouted::Tag(tag) => Refusal::manifest_unknown(&tag),
    })?;
    match route {
        Route::Base if route::is_read(request.method()) => {
            Ok(reply::bytes(StatusCode::OK, "application/json", "{}".into()))
        }
        Route::Catalog if route::is_read(request.method()) => {
            lists::catalog(app, request.uri().query()).await
        }
        Route::Tags(name) if route::is_read(request.method()) => {
            lists::tags(app, name, request.uri().query()).await
        }
        Route::Referrers(name, digest) if route::is_read(request.method()) => {
            lists::referrers(app, name, digest, request.uri().query()).await
        }
        Route::Manifest(name, selector) => match *request.method() {
            Method::GET | Method::HEAD => manifests::get(app, name, selector).await,
            Method::PUT => manifests::put(app, name, selector, request).await,
            Method::DELETE => manifests::delete(app, name, selector).await,
            _ => Err(method_not_allowed()),
        },
        Route::Blob(name, digest) => match *request.method() {
            Method::GET | Method::HEAD => blobs::get(app, name, digest, &request).await,
            Method::DELETE => blobs::delete(app, name, digest).await,
            _ => Err(method_not_allowed()),
        },
        Route::Uploads(name) if *request.method() == Method::POST => blobs::begin(app, name, request).await,
        Route::Upload(name, id) => match *request.method() {
            Method::GET | Method::HEAD => blobs::status(app, name, id).await,
            Method::PATCH => blobs::patch(app, name, id, request).await,
            Method::PUT => blobs::finish(app, name, id, request).await,
            Method::DELETE => blobs::cancel(app, name, id).await,
            _ => Err(method_not_allowed()),
        },
        _ => Err(method_not_allowed()),
    }
}

fn method_not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this path does not know the method")
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
