//! The calling side of a connection.

use crate::body::Body;
use crate::{CONNECTION_WINDOW, MAX_METADATA, Messages, STREAM_WINDOW, Status, frame};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Messages that wait for the connection.
const AHEAD: usize = 16;
/// How often a silent connection is asked whether somebody is there: one over TCP may end without a word. Servers in Go
/// close the connection of who asks more often than every five minutes.
const PING_EVERY: Duration = Duration::from_secs(6 * 60);
/// And how long an answer may take.
const PING_LIMIT: Duration = Duration::from_secs(20);

/// Calls methods over one connection. Cheap to clone.
#[derive(Clone)]
pub struct Channel(http2::SendRequest<Body>);

impl Channel {
    /// Begins on a connection. The future is the connection's life: it has to be driven, and ends with it.
    pub async fn connect<C>(
        connection: C,
    ) -> Result<(Self, impl Future<Output = Result<(), Status>> + Send), Status>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, life) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_METADATA)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .handshake(TokioIo::new(connection))
            .await
            .map_err(|e| Status::gone(&e))?;
        Ok((Self(sender), async { life.await.map_err(|e| Status::gone(&e)) }))
    }

    /// One message there, one back.
    pub async fn unary<R: Message + Default>(
        &self,
        method: &'static str,
        message: &impl Message,
    ) -> Result<R, Status> {
        self.send(method, HeaderMap::new(), Body::request(frame(message)))?.only().await
    }

    /// Many messages both ways.
    pub fn stream(&self, method: &'static str, metadata: HeaderMap) -> Result<(Requests, Messages), Status> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let messages = self.send(method, metadata, Body::requests(receiver))?;
        Ok((Requests(sender), messages))
    }

    fn send(&self, method: &'static str, metadata: HeaderMap, body: Body) -> Result<Messages, Status> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        let path = format!("http://localhost{method}");
        *request.uri_mut() = path.parse().map_err(|e| Status::invalid(format!("{method}: {e}")))?;
        *request.headers_mut() = metadata;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("wharf/", env!("CARGO_PKG_VERSION"))),
        );
        let mut sender = self.0.clone();
        Ok(Messages::of_answer(Box::pin(sender.send_request(request))))
    }
}

/// Where the messages of a call are sent. The call's request ends when it is dropped.
#[derive(Clone)]
pub struct Requests(mpsc::Sender<Result<Bytes, Status>>);

impl Requests {
    pub(crate) fn of(sender: mpsc::Sender<Result<Bytes, Status>>) -> Self {
        Self(sender)
    }

    /// Ends with a failure.
    pub async fn fail(&self, status: Status) {
        // Who left needs no reason.
        let _ = self.0.send(Err(status)).await;
    }

    /// Sends one, when there is room for it. False: the other side wants no more.
    pub async fn send(&self, message: &impl Message) -> bool {
        self.0.send(Ok(frame(message))).await.is_ok()
    }

    /// The same from a thread that may block.
    pub fn blocking_send(&self, message: &impl Message) -> bool {
        self.0.blocking_send(Ok(frame(message))).is_ok()
    }
}
