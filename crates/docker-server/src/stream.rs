//! Connections that become streams: attach and exec.

use crate::error::ApiResult;
use crate::frames::{Unframer, frame};
use crate::taken::AfterHead;
use crate::version::Version;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;
use wharf_docker_api::detach;

/// Bytes read from a process or a client at once.
const PIECE: usize = 32 * 1024;

/// Both directions of a client's connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A client's connection after the head of the answer.
pub(crate) type Client = Box<dyn Duplex>;

/// What happens to the output of a process on its way to a client.
#[derive(Debug)]
pub(crate) enum Framing {
    /// It goes as it comes.
    AsIs,
    /// A terminal's output becomes frames of stdout.
    Wrap,
    /// Frames become plain bytes.
    Unwrap(Unframer),
}

impl Framing {
    /// For a process with or without a terminal, and a client that wants plain bytes or frames.
    pub(crate) fn of(terminal: bool, plain: bool) -> Self {
        match (terminal, plain) {
            (true, false) => Self::Wrap,
            (false, true) => Self::Unwrap(Unframer::default()),
            _ => Self::AsIs,
        }
    }

    async fn send(&mut self, bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        match self {
            Self::AsIs => to.write_all(bytes).await?,
            Self::Wrap => to.write_all(&frame(1, bytes)).await?,
            Self::Unwrap(unframer) => to.write_all(&unframer.feed(bytes)).await?,
        }
        to.flush().await
    }
}

/// Why a relay is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process gave its last output.
    Ended,
    /// The client left with the keys for it.
    Detached,
    /// The client cannot be written to.
    Gone,
}

/// Whether the client asks for the connection to become a stream.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.eq_ignore_ascii_case("tcp"))
}

/// Answers with a stream that `serve` fills: the whole connection when the client asks for that, else the output as
/// the body, without input. The stream ends with `serve`.
pub(crate) fn hijack<S, F>(request: Request, version: Version, plain: bool, serve: S) -> ApiResult
where
    S: FnOnce(Client) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    if !wants_upgrade(request.headers()) {
        let (ours, theirs) = tokio::io::duplex(PIECE);
        tokio::spawn(serve(Box::new(tokio::io::join(tokio::io::empty(), ours))));
        let body = Body::from_stream(ReaderStream::with_capacity(theirs, PIECE));
        // Docker calls it raw whatever it is.
        return Ok(respond(StatusCode::OK, HeaderValue::from_static(version.stream_type(true)), body));
    }
    let kind = HeaderValue::from_static(version.stream_type(plain));
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        // A client that goes away while waiting for the start is seen when it is written to.
        if let Ok(client) = upgrade.await {
            serve(after_head(client)).await;
        }
    });
    let mut response = respond(StatusCode::SWITCHING_PROTOCOLS, kind, Body::empty());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    Ok(response)
}

/// The connection, on which what the client sent with its request comes first.
fn after_head(client: Upgraded) -> Client {
    match client.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => {
            let (read, write) = parts.io.into_inner().into_split();
            let read = io::Cursor::new(parts.read_buf).chain(read);
            Box::new(tokio::io::join(read, AfterHead::new(write)))
        }
        Err(client) => Box::new(TokioIo::new(client)),
    }
}

fn respond(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Copies both ways until the process has ended or the client has left. The client's end of input is passed on.
pub(crate) async fn relay(
    client: &mut Client,
    process: UnixStream,
    mut framing: Framing,
    mut keys: detach::Watch,
) -> End {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_process, mut to_process) = process.into_split();
    let input = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            let typed = keys.feed(&piece[..length]);
            // The process may be gone; the output decides when all is over.
            let written = to_process.write_all(&typed.bytes).await;
            if typed.detached {
                return End::Detached;
            }
            if written.is_err() {
                break;
            }
        }
        // As above.
        let _ = to_process.shutdown().await;
        std::future::pending().await
    };
    let output = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from_process.read(&mut piece).await {
            if framing.send(&piece[..length], &mut to_client).await.is_err() {
                return End::Gone;
            }
        }
        End::Ended
    };
    tokio::select! { end = output => end, end = input => end }
}
