//! Connections that become streams: attach and exec.

use crate::error::ApiResult;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use std::future::Future;
use tokio::io::{AsyncWriteExt, copy_buf};
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

/// Bytes read from a process at once.
const PIECE: usize = 32 * 1024;

/// Whether the client asks for the connection to become a stream.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.eq_ignore_ascii_case("tcp"))
}

/// Gives the client a process's streams: the whole connection when it asks for that, else the output as the
/// body. `process` gives the streams when they are there; `ended` is awaited before the client sees the end.
pub(crate) fn hijack<P, E>(request: axum::extract::Request, tty: bool, process: P, ended: E) -> ApiResult
where
    P: Future<Output = Option<UnixStream>> + Send + 'static,
    E: Future<Output = ()> + Send + 'static,
{
    let kind =
        if tty { "application/vnd.docker.raw-stream" } else { "application/vnd.docker.multiplexed-stream" };
    let kind = HeaderValue::from_static(kind);
    if !wants_upgrade(request.headers()) {
        return Ok(respond(StatusCode::OK, kind, output_body(process, ended)));
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(client) = upgrade.await else { return };
        // A client that goes away while waiting for the start is seen when it is written to.
        if let Some(process) = process.await {
            relay(TokioIo::new(client), process, ended).await;
        }
    });
    let mut response = respond(StatusCode::SWITCHING_PROTOCOLS, kind, Body::empty());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    Ok(response)
}

fn respond(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The output of a process as a body.
fn output_body<P, E>(process: P, ended: E) -> Body
where
    P: Future<Output = Option<UnixStream>> + Send + 'static,
    E: Future<Output = ()> + Send + 'static,
{
    use futures_util::StreamExt;
    let stream = futures_util::stream::once(process).flat_map(|stream| {
        futures_util::stream::iter(stream).flat_map(|s| ReaderStream::with_capacity(s, PIECE))
    });
    let end = futures_util::stream::once(ended).filter_map(|()| std::future::ready(None));
    Body::from_stream(stream.chain(end))
}

/// Copies both ways until the process has ended. The client's end of input is passed on.
async fn relay<C>(client: C, process: UnixStream, ended: impl Future<Output = ()>)
where
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_process, mut to_process) = process.into_split();
    let input = tokio::spawn(async move {
        let mut from_client = tokio::io::BufReader::with_capacity(PIECE, from_client);
        // Either side may be gone; the output direction decides when all is over.
        let _ = copy_buf(&mut from_client, &mut to_process).await;
        let _ = to_process.shutdown().await;
    });
    let mut from_process = tokio::io::BufReader::with_capacity(PIECE, from_process);
    let copied = copy_buf(&mut from_process, &mut to_client).await;
    if copied.is_ok() {
        ended.await;
    }
    input.abort();
    // The client may be gone.
    let _ = to_client.shutdown().await;
}
