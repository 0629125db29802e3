//! The serving side of a connection.

use crate::body::Body;
use crate::client::Requests;
use crate::{CONNECTION_WINDOW, MAX_METADATA, MAX_STREAMS, Messages, STREAM_WINDOW, Status, frame};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Messages of an answer that wait for the connection: the next one is made while one is sent.
const AHEAD: usize = 16;

/// One call.
pub struct Call {
    /// `/package.Service/Method`.
    pub method: String,
    /// What comes with it.
    pub metadata: HeaderMap,
    /// What is asked.
    pub messages: Messages,
}

/// What is answered.
pub struct Reply(Body);

impl Reply {
    /// One message.
    pub fn one(message: &impl Message) -> Self {
        Self(Body::answer(frame(message)))
    }

    /// Many messages, as they are sent into the other end. They end when that is dropped.
    pub fn many() -> (Answers, Self) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        (Answers(sender), Self(Body::answers(receiver)))
    }
}

/// Where the messages of an answer are sent.
pub struct Answers(mpsc::Sender<Result<Bytes, Status>>);

impl Answers {
    /// Sends one, when there is room for it. False: the caller left.
    pub async fn send(&self, message: &impl Message) -> bool {
        self.0.send(Ok(frame(message))).await.is_ok()
    }

    /// The same as where a caller sends: a directory goes in either direction.
    pub fn into_requests(self) -> Requests {
        Requests::of(self.0)
    }

    /// Ends with a failure.
    pub async fn fail(self, status: Status) {
        // A caller that left needs no reason.
        let _ = self.0.send(Err(status)).await;
    }

    /// Waits until the caller has left.
    pub async fn left(&self) {
        self.0.closed().await;
    }
}

/// What is served. A call whose caller leaves is dropped.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers a call.
    async fn call(&self, call: Call) -> Result<Reply, Status>;
}

/// Serves calls until the other side closes the connection.
pub async fn serve<C>(connection: C, service: Arc<dyn Service>) -> Result<(), Status>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(Arc::clone(&service), request));
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_METADATA)
        .serve_connection(TokioIo::new(connection), service)
        .await
        .map_err(|e| Status::gone(&e))
}

async fn answer(service: Arc<dyn Service>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let method = parts.uri.path().to_owned();
    tracing::debug!(method, "gRPC call");
    let call = Call { method: method.clone(), metadata: parts.headers, messages: Messages::of_request(body) };
    let body = match service.call(call).await {
        Ok(Reply(body)) => body,
        Err(status) => {
            tracing::debug!(method, code = ?status.code, "gRPC failure: {status}");
            Body::failure(status)
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}
