//! Serving: sockets, connections, the version prefix of paths.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::body::RunOut;
use crate::error::ApiError;
use crate::peer::Peer;

/// The newest API version that is spoken.
pub const API_VERSION: &str = "1.51";
/// The oldest API version that is spoken.
pub const MIN_API_VERSION: &str = "1.24";

/// How long to wait with the next connection when one could not be taken: the kernel says at once that there is one,
/// and no event tells when a descriptor is free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a client may take for the TLS handshake: several round trips of a bad line.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Where connections come from.
pub enum Listener {
    /// A unix socket; who may connect is the file's permissions.
    Unix(UnixListener),
    /// TCP, everybody who reaches it may connect.
    Tcp(TcpListener),
    /// TCP with TLS.
    Tls(TcpListener, TlsAcceptor),
}

impl Listener {
    /// Waits for a connection and serves it in a task of its own.
    async fn accept(&self, router: &Router, activity: &Arc<Notify>) -> std::io::Result<()> {
        let (router, activity) = (router.clone(), activity.clone());
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Peer::of(&stream);
                tokio::spawn(serve_one(stream, peer, router, activity));
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let peer = Peer::of(&stream);
                tokio::spawn(serve_one(stream, peer, router, activity));
            }
            Self::Tls(listener, acceptor) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let other = Peer::of(&stream);
                let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream));
                tokio::spawn(async move {
                    match handshake.await {
                        Ok(Ok(stream)) => serve_one(stream, other, router, activity).await,
                        Ok(Err(e)) => tracing::warn!("TLS handshake with {peer}: {e}"),
                        Err(_) => tracing::warn!("TLS handshake with {peer}: it takes too long"),
                    }
                });
            }
        }
        Ok(())
    }
}

/// Serves the API until `shutdown` ends. Connections that are open then are left to their end by the caller's
/// runtime. Each request is noted in `activity`.
pub async fn serve(
    listener: Listener,
    router: Router,
    activity: Arc<Notify>,
    shutdown: impl Future<Output = ()>,
) {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept(&router, &activity) => if let Err(e) = accepted {
                // Out of descriptors, most likely: others may close theirs meanwhile.
                tracing::error!("accept a connection: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            },
        }
    }
}

async fn serve_one<S>(stream: S, peer: Peer, router: Router, activity: Arc<Notify>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        activity.notify_one();
        request.extensions_mut().insert(peer.clone());
        answer(router.clone(), request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(e) = connection.await {
        // A client that goes away in the middle is everyday life.
        tracing::debug!("connection: {e}");
    }
}

async fn answer(router: Router, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    tracing::debug!(method = %request.method(), uri = %request.uri(), "request");
    let mut response = match strip_version(request.uri()) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            router.oneshot(request.map(|body| Body::new(RunOut::new(body)))).await?
        }
        Err(e) => e.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers
        .insert("Server", HeaderValue::from_static(concat!("Wharf/", env!("CARGO_PKG_VERSION"), " (linux)")));
    Ok(response)
}

/// Takes `/v1.43` off the path, after seeing that it is spoken.
fn strip_version(uri: &Uri) -> Result<Uri, ApiError> {
    let path = uri.path();
    let Some((version, rest)) = path.strip_prefix("/v").and_then(|p| p.split_once('/')) else {
        return Ok(uri.clone());
    };
    let Some(number) = parse_version(version) else { return Ok(uri.clone()) };
    if Some(number) > parse_version(API_VERSION) {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    if Some(number) < parse_version(MIN_API_VERSION) {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your client to a newer version"
        )));
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    format!("/{rest}{query}")
        .parse()
        .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, format!("invalid path {path:?}")))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_off() {
        let strip = |uri: &str| strip_version(&uri.parse().unwrap()).map(|u| u.to_string());
        assert_eq!(strip("/v1.43/containers/json?all=1").unwrap(), "/containers/json?all=1");
        assert_eq!(strip("/version").unwrap(), "/version");
        assert_eq!(strip("/volumes/x").unwrap(), "/volumes/x");
        assert!(strip("/v1.99/info").is_err());
        assert!(strip("/v1.12/info").is_err());
    }
}
