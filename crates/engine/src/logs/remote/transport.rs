//! Connections to receivers.

use super::tls::{Stream, Tls};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use wharf_model::{Error, Result};

/// How long a receiver may take an entry, or say that it has it.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a receiver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Udp(String),
    Tcp(String),
    /// TCP with TLS.
    Tls(String, Tls),
    Unix(PathBuf),
    /// The first of these that is there.
    UnixDatagram(Vec<PathBuf>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(host) => write!(f, "udp {host}"),
            Self::Tcp(host) | Self::Tls(host, _) => write!(f, "tcp {host}"),
            Self::Unix(path) => write!(f, "unix {}", path.display()),
            Self::UnixDatagram(paths) => {
                let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
                write!(f, "unixgram {}", paths.join(" or "))
            }
        }
    }
}

impl Address {
    /// Sees that the files that it needs are there.
    pub(super) fn check(&self) -> Result<()> {
        if let Self::Tls(_, tls) = self { tls.config().map(drop) } else { Ok(()) }
    }

    /// `udp://host:port` and the like; a port that is left out is `port`.
    pub(super) fn parse(option: &str, text: &str, port: u16) -> Result<Self> {
        let invalid = |why: &str| Error::invalid(format!("invalid {option} {text:?}: {why}"));
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| invalid("udp://HOST:PORT, tcp://HOST:PORT or unix://PATH is expected"))?;
        let host = |rest: &str| {
            let has_port = rest.rsplit_once(':').is_some_and(|(_, p)| !p.contains(']'));
            match rest {
                "" => Err(invalid("it has no host")),
                _ if has_port => Ok(rest.to_owned()),
                _ => Ok(format!("{rest}:{port}")),
            }
        };
        let path = |rest: &str| match rest.starts_with('/') {
            true => Ok(PathBuf::from(rest)),
            false => Err(invalid("the path must be absolute")),
        };
        Ok(match scheme {
            "udp" => Self::Udp(host(rest)?),
            "tcp" => Self::Tcp(host(rest)?),
            "unix" => Self::Unix(path(rest)?),
            "unixgram" => Self::UnixDatagram(vec![path(rest)?]),
            _ => return Err(invalid("its scheme is not known")),
        })
    }
}

/// A connection.
pub(super) enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Stream),
    Unix(UnixStream),
    UnixDatagram(UnixDatagram),
}

impl Connection {
    pub(super) async fn open(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Udp(host) => {
                let to = tokio::net::lookup_host(host).await?.next();
                let to = to.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))?;
                let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(own).await?;
                socket.connect(to).await?;
                Self::Udp(socket)
            }
            Address::Tcp(host) => Self::Tcp(TcpStream::connect(host.as_str()).await?),
            Address::Tls(host, tls) => Self::Tls(tls.connect(host).await?),
            Address::Unix(path) => Self::Unix(UnixStream::connect(path).await?),
            Address::UnixDatagram(paths) => {
                let socket = UnixDatagram::unbound()?;
                let mut result = Err(io::ErrorKind::NotFound.into());
                for path in paths {
                    result = socket.connect(path);
                    if result.is_ok() {
                        break;
                    }
                }
                result?;
                Self::UnixDatagram(socket)
            }
        })
    }

    pub(super) fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::UnixDatagram(_))
    }

    /// Sends all bytes, as one message where there are such.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = async {
            match self {
                Self::Udp(socket) => socket.send(bytes).await.map(drop),
                Self::UnixDatagram(socket) => socket.send(bytes).await.map(drop),
                Self::Tcp(stream) => {
                    still_open(stream.try_read(&mut [0; 64]))?;
                    stream.write_all(bytes).await
                }
                Self::Tls(stream) => stream.send(bytes).await,
                Self::Unix(stream) => {
                    still_open(stream.try_read(&mut [0; 64]))?;
                    stream.write_all(bytes).await
                }
            }
        };
        tokio::time::timeout(LIMIT, sent).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Waits until the receiver names `id`.
    pub(super) async fn acknowledged(&mut self, id: &[u8]) -> io::Result<()> {
        let answer = async {
            let mut answer = Vec::new();
            let mut piece = [0; 256];
            while !answer.windows(id.len()).any(|window| window == id) {
                let length = match self {
                    Self::Tcp(stream) => stream.read(&mut piece).await?,
                    Self::Unix(stream) => stream.read(&mut piece).await?,
                    // Nobody who speaks TLS acknowledges.
                    Self::Tls(_) | Self::Udp(_) | Self::UnixDatagram(_) => return Ok(()),
                };
                if length == 0 || answer.len() > 4096 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                answer.extend_from_slice(&piece[..length]);
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, answer).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// A receiver that has closed its side takes a first write without an error, and it would be lost.
fn still_open(read: io::Result<usize>) -> io::Result<()> {
    match read {
        Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text| Address::parse("x", text, 514);
        assert_eq!(parse("udp://h").unwrap(), Address::Udp("h:514".into()));
        assert_eq!(parse("tcp://[::1]").unwrap(), Address::Tcp("[::1]:514".into()));
        assert_eq!(parse("tcp://[::1]:9").unwrap(), Address::Tcp("[::1]:9".into()));
        assert_eq!(parse("unix:///run/x").unwrap(), Address::Unix("/run/x".into()));
        for bad in ["h:1", "udp://", "unix://x", "http://h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
