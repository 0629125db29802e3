//! A client of the Docker Engine API over a unix socket or TCP.
//!
//! Calls that answer at once share one kept-alive connection; streams and hijacked connections take theirs
//! with them. The client asks for [`crate::API_VERSION`] straight away and steps back only when the engine
//! says that this is too new.

mod connection;
mod endpoint;
mod error;
mod hijack;
mod query;
mod stream;
mod tls;

pub use connection::Body;
pub use endpoint::{Endpoint, TlsFiles};
pub use error::Error;
pub use hijack::Hijacked;
pub use query::{Query, segment};
pub use stream::{Demux, Frame, JsonStream, Kind, ResponseStream};

use bytes::Bytes;
use connection::{Sender, connect};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Mutex, PoisonError};

/// Largest body of an answer that is not a stream, in bytes: a list of a hundred thousand containers fits.
const MAX_ANSWER_BYTES: usize = 512 * 1024 * 1024;

/// A connection to one engine. Shared by reference between tasks of one thread.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    version: Mutex<String>,
    idle: Mutex<Option<Sender>>,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: Body,
}

impl Call {
    /// A call without body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Query::default(),
            headers: HeaderMap::new(),
            body: Body::empty(),
        }
    }

    /// `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// `POST`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// `PUT`.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// `DELETE`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With query parameters.
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// With a header. `Invalid` for values that no header may have.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::Invalid(format!("header {name} cannot have the value {value:?}")))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// With one more value of a header.
    pub fn also(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::Invalid(format!("header {name} cannot have the value {value:?}")))?;
        self.headers.append(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// With a JSON body.
    pub fn json(mut self, value: &impl Serialize) -> Result<Self, Error> {
        let bytes =
            serde_json::to_vec(value).map_err(|e| Error::Invalid(format!("encode the request: {e}")))?;
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Body::full(bytes);
        Ok(self)
    }

    /// With a body of the given type.
    pub fn body(mut self, content_type: &'static str, body: Body) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body;
        self
    }
}

impl Client {
    /// A client of an engine; nothing is connected yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, version: Mutex::new(crate::API_VERSION.to_owned()), idle: Mutex::new(None) }
    }

    /// A client that asks for another version of the API.
    pub fn with_version(endpoint: Endpoint, version: &str) -> Self {
        Self { endpoint, version: Mutex::new(version.to_owned()), idle: Mutex::new(None) }
    }

    /// The engine's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The version of the API in use.
    pub fn version(&self) -> String {
        self.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects now, if there is no connection yet: to find out early whether an engine is there.
    pub async fn connect(&self) -> Result<(), Error> {
        if self.idle().is_none() {
            let sender = connect(&self.endpoint).await?;
            self.keep(sender);
        }
        Ok(())
    }

    /// Calls and decodes the JSON of the answer.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let what = format!("{} {}", call.method, call.path);
        let bytes = self.bytes(call).await?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Protocol(format!("answer to {what}: {e}")))
    }

    /// Calls and takes no notice of the answer's body.
    pub async fn done(&self, call: Call) -> Result<(), Error> {
        self.bytes(call).await.map(|_| ())
    }

    /// Calls and returns the whole body of the answer.
    pub async fn bytes(&self, call: Call) -> Result<Bytes, Error> {
        Ok(self.whole(call).await?.1)
    }

    /// Calls and returns the headers and the whole body of the answer.
    pub async fn whole(&self, call: Call) -> Result<(HeaderMap, Bytes), Error> {
        let (response, sender) = self.send(call).await?;
        let (parts, body) = response.into_parts();
        let bytes = collect(body).await?;
        self.keep(sender);
        Ok((parts.headers, bytes))
    }

    /// Calls and returns the body of the answer as it comes.
    pub async fn stream(&self, call: Call) -> Result<ResponseStream, Error> {
        let (response, sender) = self.send(call).await?;
        Ok(ResponseStream::new(response, sender))
    }

    /// Calls and takes over the connection for both directions (`Upgrade: tcp`).
    pub async fn hijack(&self, call: Call) -> Result<Hijacked, Error> {
        Hijacked::from_response(self.switch(call, "tcp").await?).await
    }

    /// A call whose connection speaks another protocol afterwards.
    pub async fn upgrade(&self, call: Call, protocol: &str) -> Result<TokioIo<Upgraded>, Error> {
        let upgraded = hyper::upgrade::on(self.switch(call, protocol).await?).await;
        upgraded.map(TokioIo::new).map_err(|e| Error::Protocol(format!("take over the connection: {e}")))
    }

    async fn switch(&self, call: Call, protocol: &str) -> Result<Response<Incoming>, Error> {
        let call = call.header("connection", "Upgrade")?.header("upgrade", protocol)?;
        let (response, _) = self.send(call).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Protocol(format!(
                "the engine answered {} where it should have switched protocols",
                response.status()
            )));
        }
        Ok(response)
    }

    async fn send(&self, call: Call) -> Result<(Response<Incoming>, Sender), Error> {
        let Call { method, path, query, headers, body } = call;
        let again = body.again();
        let (response, sender) = self.send_once(&method, &path, &query, &headers, body).await?;
        if is_answer(response.status()) {
            return Ok((response, sender));
        }
        let status = response.status();
        let error = Error::from_answer(status, &collect(response.into_body()).await?);
        match (error.newest_version(), again) {
            (Some(version), Some(body)) => {
                *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
                let (response, sender) = self.send_once(&method, &path, &query, &headers, body).await?;
                let status = response.status();
                if is_answer(status) {
                    return Ok((response, sender));
                }
                Err(Error::from_answer(status, &collect(response.into_body()).await?))
            }
            _ => {
                self.keep(sender);
                Err(error)
            }
        }
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &str,
        query: &Query,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Response<Incoming>, Sender), Error> {
        let uri = format!("/v{}{path}{query}", self.version());
        let request = |body| {
            let mut request = Request::new(body);
            *request.method_mut() = method.clone();
            *request.uri_mut() =
                uri.parse().map_err(|e| Error::Invalid(format!("invalid request path {uri}: {e}")))?;
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
            Ok::<_, Error>(request)
        };
        let again = body.again();
        let idle = self.idle().take();
        if let Some(mut sender) = idle
            && sender.is_open()
        {
            match (sender.send(request(body)?).await, again) {
                (Ok(response), _) => return Ok((response, sender)),
                // The engine closed the kept connection just now: once more on a fresh one. Only what
                // changes nothing may happen twice.
                (Err(Error::Closed), Some(body)) if *method == Method::GET => {
                    let mut sender = connect(&self.endpoint).await?;
                    return Ok((sender.send(request(body)?).await?, sender));
                }
                (Err(error), _) => return Err(error),
            }
        }
        let mut sender = connect(&self.endpoint).await?;
        Ok((sender.send(request(body)?).await?, sender))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, sender: Sender) {
        *self.idle() = Some(sender);
    }
}

/// Whether the engine did what was asked; 304 says that it was so already.
fn is_answer(status: StatusCode) -> bool {
    status.is_success() || matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED)
}

async fn collect(body: Incoming) -> Result<Bytes, Error> {
    http_body_util::Limited::new(body, MAX_ANSWER_BYTES)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|e| Error::Protocol(format!("read the engine's answer: {e}")))
}
