//! Serving: sockets, connections, the version prefix of paths.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, Uri};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::body::RunOut;
use crate::line;
use crate::peer::Peer;
use crate::version::{self, API_VERSION};

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
                tokio::spawn(async move {
                    let looked = stream.async_io(Interest::READABLE, || line::look(&stream)).await;
                    serve_mended(looked, stream, peer, router, activity).await;
                });
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let peer = Peer::of(&stream);
                tokio::spawn(async move {
                    let looked = stream.async_io(Interest::READABLE, || line::look(&stream)).await;
                    serve_mended(looked, stream, peer, router, activity).await;
                });
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

async fn serve_mended<S>(
    looked: std::io::Result<Option<line::Mended>>,
    stream: S,
    peer: Peer,
    router: Router,
    activity: Arc<Notify>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // A failure is one for who reads next, too.
    let Some(mended) = looked.unwrap_or_default() else {
        return serve_one(stream, peer, router, activity).await;
    };
    match mended.in_front_of(stream).await {
        Ok(stream) => serve_one(stream, peer, router, activity).await,
        Err(e) => tracing::debug!("connection: {e}"),
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
    let uri = readable(request.uri());
    let mut response = match version::strip(uri.as_ref().unwrap_or(request.uri())) {
        Ok((version, uri)) => {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(version);
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

/// A path with bytes that are no UTF-8 as Go's text has them: each is a replacement character. Nothing is called so, and
/// every route says that in its words. `None` for a path that is readable.
fn readable(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let escaped = |at: usize| {
        let digits = path.as_bytes().get(at + 1..at + 3)?;
        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut bytes, mut at) = (Vec::new(), 0);
    // What each byte is written as.
    let mut written = Vec::new();
    while at < path.len() {
        let byte = escaped(at).filter(|_| path.as_bytes()[at] == b'%');
        let length = if byte.is_some() { 3 } else { 1 };
        bytes.push(byte.unwrap_or(path.as_bytes()[at]));
        written.push(path.get(at..at + length)?);
        at += length;
    }
    std::str::from_utf8(&bytes).err()?;
    let (mut text, mut taken) = (String::new(), 0);
    for chunk in bytes.utf8_chunks() {
        let (valid, invalid) = (chunk.valid().len(), chunk.invalid().len());
        text.extend(written[taken..taken + valid].iter().copied());
        text.extend(std::iter::repeat_n("%EF%BF%BD", invalid));
        taken += valid + invalid;
    }
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    format!("{text}{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_no_text_are_made_one() {
        let made = |uri: &str| readable(&uri.parse().unwrap()).map(|u| u.to_string());
        assert_eq!(
            made("/containers/%ff%41%FE/json?a=%ff").unwrap(),
            "/containers/%EF%BF%BD%41%EF%BF%BD/json?a=%ff"
        );
        for fine in ["/containers/x/json", "/images/a%2Fb:%C3%A4/json", "/x/%zz", "/x/%", "/x/%4"] {
            assert_eq!(made(fine), None, "{fine}");
        }
    }
}
