//! Connections: name, TCP, TLS, and a pool of them per registry.

use super::ClientConfig;
use super::resolve::Resolver;
use super::tls;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use wharf_model::{Error, ErrorKind, Result};

/// One address has this long to take a connection, and a server to shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Sends requests; knows which hosts may be spoken to in the clear.
#[derive(Clone)]
pub(super) struct Transport {
    pool: Pool<Connector, RequestBody>,
    connector: Connector,
}

#[derive(Clone)]
struct Connector {
    resolver: Resolver,
    certs_dir: Arc<PathBuf>,
    insecure: Arc<Vec<String>>,
    tls: Arc<Mutex<HashMap<String, Arc<rustls::ClientConfig>>>>,
    /// Insecure hosts that were found to speak plain HTTP, or not.
    plain: Arc<Mutex<HashMap<String, bool>>>,
}

impl Transport {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let connector = Connector {
            resolver: Resolver::default(),
            certs_dir: Arc::new(config.certs_dir.clone()),
            insecure: Arc::new(config.insecure_registries.clone()),
            tls: Arc::default(),
            plain: Arc::default(),
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            // The caller retries, and knows what may be sent twice.
            .retry_canceled_requests(true)
            .build(connector.clone());
        Self { pool, connector }
    }

    pub(super) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        self.pool.request(request).await.map_err(|e| {
            // The connector's own errors say all there is to say.
            let text = format!("talk to the registry {host}");
            match find_model_error(&e) {
                Some((kind, message)) => Error::new(kind, format!("{text}: {message}")),
                None => Error::wrap(ErrorKind::Internal, text, e),
            }
        })
    }

    /// `https`, or `http` for a host that may be spoken to in the clear and does not speak TLS.
    pub(super) async fn scheme(&self, host: &str) -> Result<&'static str> {
        if !self.connector.is_insecure(host) {
            return Ok("https");
        }
        let known = self.connector.plain.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        let plain = match known {
            Some(plain) => plain,
            None => {
                let stream = self.connector.connect(host, 443).await?;
                let plain = match self.connector.handshake(host, stream).await {
                    Ok(_) => false,
                    Err(error) => {
                        tracing::debug!(host, %error, "no TLS: speaking plain HTTP");
                        true
                    }
                };
                self.connector
                    .plain
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(host.to_owned(), plain);
                plain
            }
        };
        Ok(if plain { "http" } else { "https" })
    }

    /// Whether a host may be spoken to in the clear.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        self.connector.is_insecure(host)
    }
}

fn find_model_error(error: &(dyn std::error::Error + 'static)) -> Option<(ErrorKind, String)> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some((found.kind(), found.full()));
        }
        next = error.source();
    }
    None
}

fn split_host(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && !host.is_empty() => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

impl Connector {
    /// Loopback always is, as with Docker; others when they are listed, by name, name and port, or network.
    fn is_insecure(&self, authority: &str) -> bool {
        let (host, _) = split_host(authority);
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost"
            || address.is_some_and(|a| a.is_loopback())
            || self.insecure.iter().any(|entry| {
                entry == authority || entry == host || address.is_some_and(|a| in_network(a, entry))
            })
    }

    async fn connect(&self, authority: &str, default_port: u16) -> Result<TcpStream> {
        let (host, port) = split_host(authority);
        let port = port.unwrap_or(default_port);
        let mut problem = None;
        for address in self.resolver.lookup(host).await? {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await {
                Ok(Ok(stream)) => {
                    stream
                        .set_nodelay(true)
                        .map_err(|e| Error::wrap(ErrorKind::Internal, "set TCP_NODELAY", e))?;
                    return Ok(stream);
                }
                Ok(Err(e)) => problem = Some((address, e)),
                Err(_) => problem = Some((address, io::ErrorKind::TimedOut.into())),
            }
        }
        Err(match problem {
            Some((address, e)) => {
                Error::wrap(ErrorKind::Internal, format!("connect to {host} at {address} port {port}"), e)
            }
            None => Error::not_found(format!("{host} has no address")),
        })
    }

    async fn handshake(
        &self,
        authority: &str,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let known = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(authority).cloned();
        let config = match known {
            Some(config) => config,
            None => {
                let config = tls::config(&self.certs_dir, authority, !self.is_insecure(authority))?;
                let mut table = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(table.entry(authority.to_owned()).or_insert(config))
            }
        };
        let (host, _) = split_host(authority);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("{host} cannot have a certificate"), e))?;
        let failed = |e: io::Error| {
            let text = format!(
                "TLS with {authority} (if its certificate is private, put the authority's into {}/{authority}/ca.crt; \
                 if it speaks plain HTTP, list it as insecure)",
                self.certs_dir.display()
            );
            Error::wrap(ErrorKind::Internal, text, e)
        };
        let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Whether an address is in a network written as `10.0.0.0/8`.
fn in_network(address: IpAddr, network: &str) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        _ => false,
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            if uri.scheme_str() == Some("http") {
                return Ok(TokioIo::new(Stream::Plain(connector.connect(&authority, 80).await?)));
            }
            let stream = connector.connect(&authority, 443).await?;
            Ok(TokioIo::new(Stream::Tls(Box::new(connector.handshake(&authority, stream).await?))))
        })
    }
}

/// A connection with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_spoken_to_in_the_clear() {
        let config = ClientConfig {
            insecure_registries: vec!["reg.local:5000".into(), "other".into(), "10.0.0.0/8".into()],
            ..ClientConfig::default()
        };
        let transport = Transport::new(&config);
        for yes in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
            "reg.local:5000",
            "other:1",
            "10.1.2.3:5000",
        ] {
            assert!(transport.is_insecure(yes), "{yes}");
        }
        for no in ["reg.local", "docker.io", "11.0.0.1", "localhost.evil.org"] {
            assert!(!transport.is_insecure(no), "{no}");
        }
    }
}
