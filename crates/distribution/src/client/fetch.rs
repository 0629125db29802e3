//! Documents of the web: what `ADD` and `import` take by address.

use super::answer::{absolute, answered};
use super::send::bytes_body;
use super::{Client, MAX_REDIRECTS};
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_LENGTH, LAST_MODIFIED, LOCATION, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io;
use std::time::Duration;
use wharf_model::{Error, ErrorKind, Result};

/// A document on its way.
pub struct Document {
    /// Seconds since the epoch, when the server says when it was changed.
    pub modified: Option<i64>,
    url: String,
    body: Incoming,
    silence: Duration,
}

/// One request of another protocol over HTTP.
#[derive(Debug, Clone)]
pub struct Exchange {
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Exchange {
    /// Asks for a document.
    pub fn get(url: String, headers: &[(&'static str, String)]) -> Self {
        Self { method: Method::GET, url, headers: headers.to_vec(), body: Bytes::new() }
    }

    /// Sends one.
    pub fn post(url: String, headers: &[(&'static str, String)], body: Bytes) -> Self {
        Self { method: Method::POST, url, headers: headers.to_vec(), body }
    }
}

impl Document {
    /// Where it was found, redirects followed.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The content. A server that falls silent for a minute breaks it off.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::unfold(Some(self.body), move |body| async move {
            let mut body = body?;
            loop {
                let frame = match tokio::time::timeout(self.silence, body.frame()).await {
                    Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), None)),
                    Ok(None) => return None,
                    Ok(Some(Err(e))) => return Some((Err(io::Error::other(e)), None)),
                    Ok(Some(Ok(frame))) => frame,
                };
                if let Ok(data) = frame.into_data() {
                    return Some((Ok(data), Some(body)));
                }
            }
        })
    }
}

impl Client {
    /// Gets a document of `http://` or `https://`, following redirects, but none from `https` to `http`.
    ///
    /// # Errors
    /// `Invalid` for what is no such address, `NotFound` where there is nothing, else what the server or the way
    /// there says.
    pub async fn fetch(&self, url: &str) -> Result<Document> {
        self.exchange(Exchange::get(url.to_owned(), &[])).await
    }

    /// Sends a request with its own headers. Redirects are followed, with `Authorization` only to the same host.
    ///
    /// # Errors
    /// Those of [`Client::fetch`]; `Unauthorised` and `Forbidden` when the server says so.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Document> {
        let url = exchange.url.as_str();
        let home = url.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
        let mut target = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = target.parse().map_err(|e| {
                Error::wrap(ErrorKind::Invalid, format!("{target:?} is no address of a document"), e)
            })?;
            if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
                return Err(Error::invalid(format!("{target:?} is no address of a document")));
            }
            if url.starts_with("https://") && uri.scheme_str() == Some("http") {
                return Err(Error::new(
                    ErrorKind::Forbidden,
                    format!("{url} leads to {target}, in the clear: refused"),
                ));
            }
            let (body, _) = bytes_body(&exchange.body)?;
            let same = uri.authority() == home.as_ref();
            let mut request = Request::builder()
                .method(exchange.method.clone())
                .uri(uri)
                .header(USER_AGENT, &self.user_agent);
            for (name, value) in exchange.headers.iter().filter(|(name, _)| same || *name != "authorization")
            {
                request = request.header(*name, value);
            }
            if exchange.method == Method::POST {
                request = request.header(CONTENT_LENGTH, exchange.body.len());
            }
            let request = request.body(body);
            let request = request
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("make a request for {target}"), e))?;
            let response = answered(self.transport.send(request), self.silence).await?;
            let status = response.status();
            let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            match location {
                Some(location) if status.is_redirection() => target = absolute(&target, location),
                _ if status.is_success() => {
                    let header = response.headers().get(LAST_MODIFIED).and_then(|v| v.to_str().ok());
                    let modified = header.and_then(|v| httpdate::parse_http_date(v).ok());
                    let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
                    let modified = since.and_then(|since| since.as_secs().try_into().ok());
                    return Ok(Document {
                        modified,
                        url: target,
                        body: response.into_body(),
                        silence: self.silence,
                    });
                }
                _ => {
                    let kind = match status.as_u16() {
                        401 => ErrorKind::Unauthorised,
                        403 => ErrorKind::Forbidden,
                        404 => ErrorKind::NotFound,
                        _ => ErrorKind::Internal,
                    };
                    let method = &exchange.method;
                    return Err(Error::new(kind, format!("failed to {method} {url} with status {status}")));
                }
            }
        }
        Err(Error::internal(format!("{url} redirects more than {MAX_REDIRECTS} times")))
    }
}
