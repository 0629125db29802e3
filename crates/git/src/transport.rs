//! How requests reach a server: HTTP, or a connection to Git's own daemon.

use crate::address::{Address, Scheme};
use crate::packet::{Packets, Source};
use base64::Engine;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio_util::io::ReaderStream;
use wharf_distribution::client::{Client, Exchange, Resolver};
use wharf_model::{Error, ErrorKind, Result};

/// Git's own port (git-daemon(1)).
const PORT: u16 = 9418;
/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Lines of a greeting, of which Git's own has about ten: it is kept in memory.
const MAX_GREETING: usize = 256;
/// The service that gives objects out.
const SERVICE: &str = "git-upload-pack";

/// What a fetch may use.
#[derive(Clone)]
pub struct Access {
    /// For HTTP, with its certificates and proxies.
    pub client: Client,
    /// The value of `Authorization`, when it is not what the address says.
    pub authorisation: Option<String>,
}

impl Access {
    /// The header that a token makes, as the usual hosts take it.
    pub fn token(token: &str) -> String {
        let pair =
            base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{}", token.trim()));
        format!("basic {pair}")
    }
}

/// A server that was greeted.
pub(crate) enum Connection {
    Http { access: Box<Access>, url: String, headers: Vec<(&'static str, String)> },
    Daemon { write: OwnedWriteHalf, packets: Packets },
}

impl Connection {
    /// Connects, and reads what the server can do.
    pub(crate) async fn open(address: &Address, access: &Access) -> Result<(Self, Vec<String>)> {
        match address.scheme {
            Scheme::Http => Self::http(address, access).await,
            Scheme::Git => Self::daemon(address).await,
        }
    }

    async fn http(address: &Address, access: &Access) -> Result<(Self, Vec<String>)> {
        let mut headers = vec![("git-protocol", "version=2".to_owned())];
        let own = address.credentials.as_ref().map(|(user, password)| {
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            format!("basic {pair}")
        });
        headers.extend(own.or_else(|| access.authorisation.clone()).map(|value| ("authorization", value)));
        let base = address.url.trim_end_matches('/');
        let asked = Exchange::get(format!("{base}/info/refs?service={SERVICE}"), &headers);
        let answer = access.client.exchange(asked).await?;
        // A repository that moved is asked where it is now.
        let suffix = format!("/info/refs?service={SERVICE}");
        let url = answer.url().strip_suffix(&suffix).unwrap_or(base).to_owned();
        if !may_know(base, &url) {
            // The password is for whom the address names, not for where that one leads.
            headers.retain(|(name, _)| *name != "authorization");
        }
        let mut packets = Packets::new(Box::pin(answer.into_stream()));
        let mut greeting = read_section(&mut packets).await?;
        // The name of the service goes before on HTTP (gitprotocol-http(5)).
        if greeting.first().is_some_and(|line| line.starts_with("# service=")) {
            greeting = read_section(&mut packets).await?;
        }
        Ok((Self::Http { access: Box::new(access.clone()), url, headers }, checked(greeting, address)?))
    }

    async fn daemon(address: &Address) -> Result<(Self, Vec<String>)> {
        let rest = address.url.strip_prefix("git://").unwrap_or(&address.url);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let unreachable = |e| Error::wrap(ErrorKind::Internal, format!("reach {}", address.url), e);
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().unwrap_or(PORT)),
            _ => (host, PORT),
        };
        let addresses = Resolver::default().lookup(name.trim_matches(['[', ']'])).await?;
        let targets: Vec<std::net::SocketAddr> = addresses.into_iter().map(|a| (a, port).into()).collect();
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(&targets[..])).await;
        let stream =
            stream.map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?.map_err(unreachable)?;
        let (read, mut write) = stream.into_split();
        let request = format!("{SERVICE} /{path}\0host={host}\0\0version=2\0");
        let request = format!("{:04x}{request}", request.len() + 4);
        write.write_all(request.as_bytes()).await.map_err(unreachable)?;
        let mut packets = Packets::new(Box::pin(ReaderStream::new(read)));
        let greeting = read_section(&mut packets).await?;
        Ok((Self::Daemon { write, packets }, checked(greeting, address)?))
    }

    /// Sends a request and gives its answer to be read.
    pub(crate) async fn ask(&mut self, request: Vec<u8>) -> Result<Answer<'_>> {
        match self {
            Self::Http { access, url, headers } => {
                let mut headers = headers.clone();
                headers.push(("content-type", format!("application/x-{SERVICE}-request")));
                headers.push(("accept", format!("application/x-{SERVICE}-result")));
                let asked = Exchange::post(format!("{url}/{SERVICE}"), &headers, Bytes::from(request));
                let source: Source = Box::pin(access.client.exchange(asked).await?.into_stream());
                Ok(Answer::Own(Box::new(Packets::new(source))))
            }
            Self::Daemon { write, packets } => {
                let sent = write.write_all(&request).await;
                sent.map_err(|e| Error::wrap(ErrorKind::Internal, "ask the Git server", e))?;
                Ok(Answer::Shared(packets))
            }
        }
    }
}

/// What a server answers.
pub(crate) enum Answer<'a> {
    /// On a connection of its own.
    Own(Box<Packets>),
    /// On the one connection there is.
    Shared(&'a mut Packets),
}

impl Answer<'_> {
    pub(crate) fn packets(&mut self) -> &mut Packets {
        match self {
            Self::Own(packets) => packets,
            Self::Shared(packets) => packets,
        }
    }
}

/// Whether who gave a password for one address gave it for another: for its host, and never for the same in the clear.
pub(crate) fn may_know(given_for: &str, other: &str) -> bool {
    let parts = |url: &str| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        (scheme.to_ascii_lowercase(), rest.split('/').next().unwrap_or_default().to_ascii_lowercase())
    };
    let ((scheme, host), (other_scheme, other_host)) = (parts(given_for), parts(other));
    host == other_host && (other_scheme == "https" || other_scheme == scheme)
}

async fn read_section(packets: &mut Packets) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    while let Some(line) = packets.text().await? {
        if lines.len() == MAX_GREETING {
            return Err(Error::internal("the Git server's greeting has no end"));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn checked(greeting: Vec<String>, address: &Address) -> Result<Vec<String>> {
    if greeting.first().map(String::as_str) != Some("version 2") {
        return Err(Error::unsupported(format!(
            "{} does not speak version 2 of Git's protocol (Git has since 2.18)",
            address.url
        )));
    }
    if let Some(format) =
        greeting.iter().find_map(|line| line.strip_prefix("object-format=")).filter(|f| *f != "sha1")
    {
        return Err(Error::unsupported(format!("{}: objects are named by {format}: sha1 only", address.url)));
    }
    Ok(greeting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_know_a_password() {
        for (given_for, other, may) in [
            ("https://h/a.git", "https://h/b.git", true),
            ("http://h/a.git", "https://H/a.git", true),
            ("https://h/a.git", "http://h/a.git", false),
            ("https://h/a.git", "https://h.evil/a.git", false),
            ("https://h/a.git", "https://h:8443/a.git", false),
        ] {
            assert_eq!(may_know(given_for, other), may, "{given_for} {other}");
        }
    }

    #[tokio::test]
    async fn a_greeting_without_end_is_left() {
        let lines = futures_util::stream::repeat_with(|| Ok(Bytes::from_static(b"0006x\n")));
        let mut packets = Packets::new(Box::pin(lines));
        let error = read_section(&mut packets).await.unwrap_err();
        assert!(error.full().contains("no end"), "{error}");
    }
}
