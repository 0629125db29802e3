//! TLS to a receiver (`syslog-tls-*`).

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use wharf_distribution::client::tls::Trust;
use wharf_model::container::LogSpec;
use wharf_model::{Error, ErrorKind, Result};

/// Whom the engine trusts, and what it shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tls {
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    unverified: bool,
}

impl Tls {
    pub(super) fn of(log: &LogSpec) -> Self {
        let path = |name| log.option(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        Self {
            authority: path("syslog-tls-ca-cert"),
            certificate: path("syslog-tls-cert"),
            key: path("syslog-tls-key"),
            // Docker only asks whether the option is there; who writes false means it.
            unverified: log
                .option("syslog-tls-skip-verify")
                .is_some_and(|text| wharf_model::logging::flag(text) != Some(false)),
        }
    }

    /// Reads the files, each time a connection is made: certificates are renewed.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>> {
        let words = |text: String| move |e| Error::wrap(ErrorKind::Internal, text, e);
        let mut trust = Trust { unverified: self.unverified, ..Trust::default() };
        if let Some(path) = &self.authority {
            std::fs::File::open(path).map_err(words(format!(
                "could not read CA certificate {:?}: open {}",
                path,
                path.display()
            )))?;
            trust.authorities.push(path.clone());
        }
        if self.certificate.is_some() || self.key.is_some() {
            let own = [&self.certificate, &self.key].map(|path| path.clone().unwrap_or_default());
            for path in &own {
                std::fs::File::open(path)
                    .map_err(words(format!("Could not load X509 key pair: open {}", path.display())))?;
            }
            let [certificate, key] = own;
            trust.own = Some((certificate, key));
        }
        trust.config()
    }

    pub(super) async fn connect(&self, host: &str) -> io::Result<Stream> {
        let own = self.clone();
        let config = tokio::task::spawn_blocking(move || own.config()).await.map_err(io::Error::other)?;
        let config = config.map_err(|e| io::Error::other(e.full()))?;
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name =
            ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(host).await?;
        Ok(Stream(Box::new(TlsConnector::from(config).connect(name, stream).await?)))
    }
}

/// A connection under TLS.
pub(super) struct Stream(Box<TlsStream<TcpStream>>);

impl Stream {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.still_open().await?;
        self.0.write_all(bytes).await?;
        // What is encrypted is not sent yet.
        self.0.flush().await
    }

    /// A receiver that has closed its side takes a first write without an error, and it would be lost.
    async fn still_open(&mut self) -> io::Result<()> {
        let mut piece = [0; 64];
        poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.0).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                }
                Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await
    }
}
