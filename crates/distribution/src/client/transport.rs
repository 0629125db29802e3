//! Connections: name, TCP, TLS, and a pool of them per registry.

use super::ClientConfig;
use super::proxy::{Kind, Proxy};
use super::resolve::Resolver;
use super::settings::{Settings, split_host};
use super::tls;
use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::{self, Connected};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use wharf_model::{Error, ErrorKind, Result};

/// One address has this long to take a connection, and a server to shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A proxy has this long to lead to a host, names looked up and all.
const PROXY_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Sends requests; knows which hosts may be spoken to in the clear.
#[derive(Clone)]
pub(crate) struct Transport {
    pool: Pool<Connector, RequestBody>,
    connector: Connector,
}

/// Whom a host is certified by, with what that was read from.
type Trusted = (tls::Stamp, Arc<rustls::ClientConfig>);

#[derive(Clone)]
struct Connector {
    resolver: Resolver,
    certs_dir: Arc<PathBuf>,
    settings: Arc<RwLock<Arc<Settings>>>,
    /// By host. Certificates come and go while the engine runs.
    tls: Arc<Mutex<HashMap<String, Trusted>>>,
    /// Insecure hosts that were found to speak plain HTTP, or not.
    plain: Arc<Mutex<HashMap<String, bool>>>,
}

impl Transport {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let connector = Connector {
            resolver: Resolver::default(),
            certs_dir: Arc::new(config.certs_dir.clone()),
            settings: Arc::new(RwLock::new(Arc::new(config.settings.clone()))),
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

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.connector.settings()
    }

    /// Changes them. What was found out about hosts is found out anew.
    pub(super) fn set(&self, settings: Settings) {
        *self.connector.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.connector.tls.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.connector.plain.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<Incoming>> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        if request.uri().scheme_str() == Some("http")
            && let Some(proxy) = self.settings().proxies.for_host(&host, false)
            && let Some(value) = proxy.authorization()
        {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|e| Error::wrap(ErrorKind::Invalid, "send the proxy's credentials", e))?;
            value.set_sensitive(true);
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        self.pool.request(request).await.map_err(|e| {
            // The connector's own errors say all there is to say.
            let text = format!("talk to {host}");
            match find_model_error(&e) {
                Some((kind, message)) => Error::new(kind, format!("{text}: {message}")),
                None => Error::wrap(ErrorKind::Internal, text, e),
            }
        })
    }

    /// `https`, or `http` for a host that may be spoken to in the clear and does not speak TLS.
    pub(super) async fn scheme(&self, host: &str) -> Result<&'static str> {
        let settings = self.settings();
        if !settings.is_insecure(host) {
            return Ok("https");
        }
        if settings.is_plain_mirror(host) {
            return Ok("http");
        }
        let known = self.connector.plain.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        let plain = match known {
            Some(plain) => plain,
            None => {
                let plain = self.connector.speaks_plain(host).await?;
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
        self.settings().is_insecure(host)
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

impl Connector {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a host that may be spoken to in the clear does not speak TLS.
    async fn speaks_plain(&self, host: &str) -> Result<bool> {
        let (stream, _) = match self.reach(host, true).await {
            Ok(reached) => reached,
            // A proxy that lets nobody through to this port with CONNECT may still take plain requests.
            Err(error) if self.settings().proxies.for_host(host, false).is_some() => {
                tracing::debug!(host, error = error.full(), "no tunnel: speaking plain HTTP");
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        match self.handshake(host, stream).await {
            Ok(_) => Ok(false),
            Err(error) => {
                tracing::debug!(host, error = error.full(), "no TLS: speaking plain HTTP");
                Ok(true)
            }
        }
    }

    /// A stream to a host, through a proxy where there is one for it; whether whole addresses are to be asked for.
    async fn reach(&self, authority: &str, tls: bool) -> Result<(Stream, bool)> {
        let settings = self.settings();
        let Some(proxy) = settings.proxies.for_host(authority, tls) else {
            let port = if tls { 443 } else { 80 };
            return Ok((Stream(Box::new(self.connect(authority, port).await?)), false));
        };
        let through = self.through(proxy, authority, tls);
        match tokio::time::timeout(PROXY_TIMEOUT, through).await {
            Ok(reached) => reached,
            Err(_) => {
                Err(Error::internal(format!("the proxy {} leads nowhere for {authority}", proxy.shown())))
            }
        }
    }

    async fn through(&self, proxy: &Proxy, authority: &str, tls: bool) -> Result<(Stream, bool)> {
        let tcp = self.connect(&proxy.authority, proxy.kind.port()).await.map_err(|e| {
            Error::wrap(e.kind(), format!("reach {authority} through the proxy {}", proxy.shown()), e)
        })?;
        let mut stream = Stream(Box::new(tcp));
        if proxy.kind == Kind::Https {
            stream = Stream(Box::new(self.handshake(&proxy.authority, stream).await?));
        }
        if !tls && proxy.kind != Kind::Socks {
            return Ok((stream, true));
        }
        let (host, port) = split_host(authority);
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        proxy.tunnel(&mut stream, &format!("{host}:{port}")).await?;
        Ok((stream, false))
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

    /// Whom a host must be certified by.
    fn trust(&self, authority: &str) -> Result<Arc<rustls::ClientConfig>> {
        let stamp = tls::stamp(&self.certs_dir, authority)?;
        if let Some((known, config)) = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(authority)
            && *known == stamp
        {
            return Ok(Arc::clone(config));
        }
        let config = tls::config(&self.certs_dir, authority, !self.settings().is_insecure(authority))?;
        let mut table = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(authority.to_owned(), (stamp, Arc::clone(&config)));
        Ok(config)
    }

    async fn handshake(
        &self,
        authority: &str,
        stream: Stream,
    ) -> Result<tokio_rustls::client::TlsStream<Stream>> {
        let config = self.trust(authority)?;
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
pub(super) fn in_network(address: IpAddr, network: &str) -> bool {
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
    type Response = TokioIo<Connection>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            let tls = uri.scheme_str() != Some("http");
            let (stream, proxied) = connector.reach(&authority, tls).await?;
            let stream =
                if tls { Stream(Box::new(connector.handshake(&authority, stream).await?)) } else { stream };
            Ok(TokioIo::new(Connection { stream, proxied }))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// TCP, with any number of TLS on it.
pub(super) struct Stream(Box<dyn Io>);

/// What requests are sent on.
pub(super) struct Connection {
    stream: Stream,
    /// A proxy takes the requests, and wants to know for whom they are.
    proxied: bool,
}

impl connect::Connection for Connection {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

macro_rules! delegate_io {
    ($type:ty, $field:tt) => {
        impl AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_shutdown(cx)
            }
        }
    };
}

delegate_io!(Stream, 0);
delegate_io!(Connection, stream);
