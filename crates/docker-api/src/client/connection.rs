//! One HTTP/1.1 connection, and the bodies sent over it.

use super::{Endpoint, Error};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

/// Chunks of an upload on their way; the producer waits when the engine is slower.
const UPLOAD_CHUNKS: usize = 4;

/// The body of a request.
#[derive(Debug)]
pub struct Body(Content);

#[derive(Debug)]
enum Content {
    Full(Option<Bytes>),
    Channel(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self(Content::Full(None))
    }

    /// Bytes in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Full(Some(bytes.into())))
    }

    /// Chunks that a producer sends; it ends when the sender is dropped, and breaks off with an error.
    pub fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(UPLOAD_CHUNKS);
        (sender, Self(Content::Channel(receiver)))
    }

    /// The same body for a second try, unless it is a stream.
    pub(super) fn again(&self) -> Option<Self> {
        match &self.0 {
            Content::Full(bytes) => Some(Self(Content::Full(bytes.clone()))),
            Content::Channel(_) => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Channel(receiver) => {
                receiver.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Content::Full(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.0 {
            Content::Full(bytes) => {
                http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Channel(_) => http_body::SizeHint::default(),
        }
    }
}

/// The side of a connection that requests are sent on.
#[derive(Debug)]
pub(super) struct Sender(http1::SendRequest<Body>);

impl Sender {
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        self.0.ready().await.map_err(|e| from_hyper(&e))?;
        self.0.send_request(request).await.map_err(|e| from_hyper(&e))
    }
}

fn from_hyper(error: &hyper::Error) -> Error {
    if error.is_canceled() || error.is_closed() || error.is_incomplete_message() {
        return Error::Closed;
    }
    // A body that broke off is the producer's error, which says more than HTTP's.
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Error::Io(io::Error::new(io.kind(), io.to_string()));
        }
        cause = error.source();
    }
    Error::Protocol(format!("talk to the engine: {error}"))
}

/// Connects; the connection runs on the current tokio runtime until it is dropped.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<Sender, Error> {
    let failed = |source| Error::Connect { endpoint: endpoint.to_string(), source };
    match endpoint {
        Endpoint::Unix(path) => handshake(UnixStream::connect(path).await.map_err(failed)?).await,
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            handshake(stream).await
        }
        Endpoint::Tls(address, files) => {
            let stream = TcpStream::connect(address).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            handshake(super::tls::handshake(stream, address, files).await.map_err(failed)?).await
        }
    }
}

async fn handshake<S>(stream: S) -> Result<Sender, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| from_hyper(&e))?;
    // Its errors reach whoever waits for an answer.
    tokio::spawn(connection.with_upgrades());
    Ok(Sender(sender))
}
