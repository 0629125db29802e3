//! A client of S3-compatible stores: objects, lists, uploads in parts. Requests are signed with Signature Version 4.
//!
//! Only what the registry needs. The HTTP client is the one for registries: its names, its TLS, its proxies.

mod credentials;
mod sign;
#[cfg(test)]
pub(crate) mod testing;
mod upload;
mod xml;

pub(crate) use credentials::Credentials;
pub(crate) use upload::Whole;

use crate::client::{ClientConfig, RequestBody, Transport};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HOST, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use std::time::{Duration, SystemTime};
use wharf_model::{Error, ErrorKind, Result};

/// A store has this long to begin an answer: a part of an upload goes through in it.
const SILENCE: Duration = Duration::from_secs(120);
/// Times a request is sent at most.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Bytes of an answer that is no object: a list of a thousand keys has some 300 KiB.
const MAX_ANSWER: usize = 4 << 20;
/// Keys that a list has at once: what stores give at most.
pub(crate) const MAX_KEYS: usize = 1000;

/// Where a bucket is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `https://host[:port]`
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) bucket: String,
    /// Whether the bucket is in the path, and not in the host's name.
    pub(crate) path_style: bool,
}

/// A bucket.
#[derive(Clone)]
pub(crate) struct Bucket {
    transport: Transport,
    credentials: Credentials,
    region: String,
    scheme: &'static str,
    host: String,
    /// `/bucket`, or nothing.
    path: String,
}

/// What is known of an object without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    /// How long ago it was written, by the store's own clock.
    pub(crate) age: Option<Duration>,
}

/// A part of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Keys with their sizes.
    pub(crate) keys: Vec<(String, u64)>,
    /// Where the list goes on.
    pub(crate) next: Option<String>,
}

/// What is asked for of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) next: Option<&'a str>,
    pub(crate) limit: usize,
}

/// A request; `body` makes its body for each attempt.
struct Ask<'a> {
    method: Method,
    key: &'a str,
    query: Vec<(&'a str, String)>,
    headers: HeaderMap,
    /// The SHA-256 of the body in hex, or that it is not signed.
    hash: String,
    length: u64,
    body: &'a (dyn Fn() -> Result<RequestBody> + Sync),
}

fn whole(bytes: &Bytes) -> RequestBody {
    Full::new(bytes.clone()).map_err(|e| match e {}).boxed_unsync()
}

fn nothing() -> Result<RequestBody> {
    Ok(whole(&Bytes::new()))
}

impl<'a> Ask<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: HeaderMap::new(),
            hash: sign::hash(b""),
            length: 0,
            body: &nothing,
        }
    }
}

impl Bucket {
    /// A bucket; nothing is contacted yet.
    ///
    /// # Errors
    /// `Invalid` for an endpoint that is no address.
    pub(crate) fn new(place: &Place, credentials: Credentials, config: &ClientConfig) -> Result<Self> {
        let bad = || {
            let text = format!("{:?} is no endpoint: https://HOST[:PORT] is expected", place.endpoint);
            Error::invalid(text)
        };
        let (scheme, host) = place.endpoint.trim_end_matches('/').split_once("://").ok_or_else(bad)?;
        let scheme = match scheme {
            "https" => "https",
            "http" => "http",
            _ => return Err(bad()),
        };
        if host.is_empty() || host.contains(['/', '@', '?']) {
            return Err(bad());
        }
        let (host, path) = match place.path_style {
            true => (host.to_owned(), format!("/{}", place.bucket)),
            false => (format!("{}.{host}", place.bucket), String::new()),
        };
        let transport = Transport::new(config);
        Ok(Self { transport, credentials, region: place.region.clone(), scheme, host, path })
    }

    /// Whether bodies go through TLS, which protects them.
    fn is_private(&self) -> bool {
        self.scheme == "https"
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Response<Incoming>> {
        let path = format!("{}/{}", self.path, ask.key);
        let path = sign::encoded(path.trim_end_matches(|c| ask.key.is_empty() && c == '/'), true);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut query: Vec<(String, String)> = ask
            .query
            .iter()
            .map(|(name, value)| (sign::encoded(name, false), sign::encoded(value, false)))
            .collect();
        query.sort();
        let query = query.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        let mut headers = ask.headers.clone();
        let host = HeaderValue::from_str(&self.host)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("use the host {}", self.host), e))?;
        headers.insert(HOST, host);
        let signed = sign::Signed {
            method: ask.method.as_str(),
            path: &path,
            query: &query,
            hash: &ask.hash,
            region: &self.region,
        };
        signed.sign(&mut headers, &self.credentials.current()?, SystemTime::now())?;
        headers.insert(CONTENT_LENGTH, ask.length.into());
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}://{}{path}{mark}{query}", self.scheme, self.host);
        let mut request = Request::builder().method(ask.method.clone()).uri(uri);
        if let Some(own) = request.headers_mut() {
            *own = headers;
        }
        let request = request
            .body((ask.body)()?)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "make a request to the store", e))?;
        match tokio::time::timeout(SILENCE, self.transport.send(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::internal(format!(
                "the store {} did not answer for {} seconds",
                self.host,
                SILENCE.as_secs()
            ))),
        }
    }

    /// Sends a request, again after transient failures. All requests here may be sent twice.
    async fn send(&self, ask: &Ask<'_>) -> Result<Response<Incoming>> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.once(ask).await {
                Ok(answer) if !is_transient(answer.status()) => return Ok(answer),
                Ok(answer) => tracing::debug!(status = %answer.status(), "the store is busy"),
                Err(error) if error.kind() != ErrorKind::Internal => return Err(error),
                Err(error) => tracing::debug!(error = error.full(), "the store cannot be reached"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.once(ask).await
    }

    /// The text of an answer.
    async fn text(&self, answer: Response<Incoming>) -> Result<String> {
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect();
        let failed = |e: String| Error::internal(format!("read the answer of {}: {e}", self.host));
        let body = match tokio::time::timeout(SILENCE, body).await {
            Ok(body) => body.map_err(|e| failed(e.to_string()))?,
            Err(_) => return Err(failed("it stopped".into())),
        };
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// The error of an answer. The store's own words are for the operator.
    async fn failure(&self, answer: Response<Incoming>, doing: &str) -> Error {
        let status = answer.status();
        let text = self.text(answer).await.unwrap_or_default();
        let of = |name: &str| xml::first(&text, name).unwrap_or_default();
        let kind = match status {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            _ => ErrorKind::Internal,
        };
        Error::new(
            kind,
            format!("{doing} in the store {}: {status} {} {}", self.host, of("Code"), of("Message")),
        )
    }

    /// An object, or of it the bytes from one up to, not with, another.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) async fn get(&self, key: &str, part: Option<(u64, u64)>) -> Result<Response<Incoming>> {
        let mut ask = Ask::new(Method::GET, key);
        if let Some((start, end)) = part {
            let range = HeaderValue::from_str(&format!("bytes={start}-{}", end.saturating_sub(1)));
            ask.headers.insert(
                RANGE,
                range.map_err(|e| Error::wrap(ErrorKind::Internal, "ask for a part of an object", e))?,
            );
        }
        let answer = self.send(&ask).await?;
        let wanted = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        match answer.status() == wanted {
            true => Ok(answer),
            false => Err(self.failure(answer, &format!("get {key}")).await),
        }
    }

    /// A small object whole; `None` when there is none.
    pub(crate) async fn read(&self, key: &str, limit: usize) -> Result<Option<Bytes>> {
        let answer = match self.get(key, None).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            answer => answer?,
        };
        let body = Limited::new(answer.into_body(), limit).collect();
        match tokio::time::timeout(SILENCE, body).await {
            Ok(Ok(body)) => Ok(Some(body.to_bytes())),
            Ok(Err(e)) => Err(Error::internal(format!("get {key} from the store {}: {e}", self.host))),
            Err(_) => Err(Error::internal(format!("get {key}: the store {} fell silent", self.host))),
        }
    }

    /// What is known of an object; `None` when there is none.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<Head>> {
        let answer = self.send(&Ask::new(Method::HEAD, key)).await?;
        let text = |name| answer.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let time = |name| text(name).and_then(|t| httpdate::parse_http_date(t).ok());
        match answer.status() {
            StatusCode::OK => Ok(Some(Head {
                size: text(CONTENT_LENGTH).and_then(|t| t.parse().ok()).unwrap_or(0),
                age: time(LAST_MODIFIED).map(|written| {
                    let now = time(DATE).unwrap_or_else(SystemTime::now);
                    now.duration_since(written).unwrap_or_default()
                }),
            })),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(answer, &format!("look for {key}")).await),
        }
    }

    /// Writes a small object.
    pub(crate) async fn put(&self, key: &str, content: &Bytes) -> Result<()> {
        let body = || Ok(whole(content));
        let ask = Ask {
            hash: sign::hash(content),
            length: content.len() as u64,
            body: &body,
            ..Ask::new(Method::PUT, key)
        };
        let answer = self.send(&ask).await?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(self.failure(answer, &format!("put {key}")).await),
        }
    }

    /// Removes an object; nothing happens if there is none.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let answer = self.send(&Ask::new(Method::DELETE, key)).await?;
        match answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND {
            true => Ok(()),
            false => Err(self.failure(answer, &format!("delete {key}")).await),
        }
    }

    /// A part of the list of keys, in order of bytes.
    pub(crate) async fn list(&self, query: Query<'_>) -> Result<Page> {
        let mut ask = Ask::new(Method::GET, "");
        ask.query = vec![
            ("list-type", "2".into()),
            ("prefix", query.prefix.into()),
            ("max-keys", query.limit.min(MAX_KEYS).to_string()),
        ];
        ask.query.extend(query.after.map(|after| ("start-after", after.to_owned())));
        ask.query.extend(query.next.map(|next| ("continuation-token", next.to_owned())));
        let answer = self.send(&ask).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.failure(answer, &format!("list {}", query.prefix)).await);
        }
        let text = self.text(answer).await?;
        let keys = xml::all(&text, "Contents").filter_map(|one| {
            let size = xml::first(one, "Size").and_then(|size| size.parse().ok()).unwrap_or(0);
            Some((xml::text(xml::first(one, "Key")?), size))
        });
        let goes_on = xml::first(&text, "IsTruncated") == Some("true");
        let next = xml::first(&text, "NextContinuationToken").map(xml::text);
        Ok(Page { keys: keys.collect(), next: next.filter(|_| goes_on) })
    }
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
