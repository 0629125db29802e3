//! Proxies: who is reached through one (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`), and
//! `CONNECT` (RFC 9110, 9.3.6).

use super::settings::split_host;
use super::socks::{self, Login};
use super::transport::in_network;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wharf_model::{Error, ErrorKind, Result};

/// Bytes of a proxy's answer to `CONNECT`.
const MAX_HEAD: usize = 16 << 10;

/// Through whom connections go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<Proxy>,
    /// For `https://`.
    pub https: Option<Proxy>,
    /// Hosts that are reached directly, with commas between: names with all below them, `.names` with what is below them
    /// alone, addresses, networks, `*`; each may have a port.
    pub no_proxy: String,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) kind: Kind,
    pub(super) authority: String,
    /// Whoever asks it.
    login: Option<Login>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    /// The same, with TLS.
    Https,
    Socks,
}

impl Kind {
    fn parse(scheme: &str) -> Option<Self> {
        match scheme {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            // With and without `h`, it is the proxy that looks names up.
            "socks5" | "socks5h" => Some(Self::Socks),
            _ => None,
        }
    }

    /// The port that is meant when none is said.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks => 1080,
        }
    }
}

/// Secrets are not printed.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`, `https://…` or `socks5://…`; without a scheme it is `http://`.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        // The text itself may hold a password.
        let kind = Kind::parse(scheme).filter(|_| authority.parse::<http::uri::Authority>().is_ok());
        let kind = kind.ok_or_else(|| {
            Error::invalid(format!(
                "invalid proxy {scheme}://{authority}: http://, https:// or socks5:// with a host is expected"
            ))
        })?;
        let login = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (unescape(name), unescape(password))
        });
        Ok(Self { kind, authority: authority.to_owned(), login })
    }

    /// The value of `Proxy-Authorization`, of a proxy that is spoken to by HTTP.
    pub(super) fn authorization(&self) -> Option<String> {
        let (name, password) = self.login.as_ref().filter(|_| self.kind != Kind::Socks)?;
        let pair = [&name[..], b":", password].concat();
        Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    /// Its address, with the password hidden as Docker does.
    pub fn shown(&self) -> String {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks => "socks5",
        };
        let user = if self.login.is_some() { "xxxxx:xxxxx@" } else { "" };
        format!("{scheme}://{user}{}", self.authority)
    }

    /// Asks the proxy for a way to `host:port`; what follows on the stream is the other side's.
    pub(super) async fn tunnel(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        target: &str,
    ) -> Result<()> {
        let doing = || format!("reach {target} through the proxy {}", self.shown());
        if self.kind == Kind::Socks {
            let (host, port) = split_host(target);
            let connected = socks::connect(stream, host, port.unwrap_or(443), self.login.as_ref()).await;
            return connected.map_err(|e| {
                let refused = e.kind() == std::io::ErrorKind::PermissionDenied;
                let kind = if refused { ErrorKind::Forbidden } else { ErrorKind::Internal };
                Error::wrap(kind, doing(), e)
            });
        }
        let authorization =
            self.authorization().map(|v| format!("Proxy-Authorization: {v}\r\n")).unwrap_or_default();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        let broken = |e| Error::wrap(ErrorKind::Internal, doing(), e);
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == MAX_HEAD {
                return Err(Error::invalid(format!("{}: its answer has no end", doing())));
            }
            // Byte by byte: nothing of what follows may be taken.
            head.push(stream.read_u8().await.map_err(broken)?);
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.lines().next().unwrap_or_default().split_once(' ').map_or("", |(_, rest)| rest);
        match status.get(..3) {
            Some("200") => Ok(()),
            Some("407") => Err(Error::new(ErrorKind::Forbidden, format!("{}: {status}", doing()))),
            _ => Err(Error::internal(format!("{}: {status}", doing()))),
        }
    }
}

impl Proxies {
    /// As the environment says, by the names every program takes.
    ///
    /// # Errors
    /// `Invalid` when a proxy's address cannot be read.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let either = |name: &str| {
            let found = get(name).filter(|v| !v.is_empty()).or_else(|| get(&name.to_ascii_lowercase()));
            found.filter(|v| !v.is_empty())
        };
        let proxy = |name: &str| either(name).map(|text| Proxy::parse(&text)).transpose();
        Ok(Self {
            http: proxy("HTTP_PROXY")?,
            https: proxy("HTTPS_PROXY")?,
            no_proxy: either("NO_PROXY").unwrap_or_default(),
        })
    }

    /// The proxy for a host; loopback has none, as with every program that obeys these variables.
    pub(super) fn for_host(&self, authority: &str, tls: bool) -> Option<&Proxy> {
        let proxy = if tls { self.https.as_ref() } else { self.http.as_ref() }?;
        (!self.is_direct(authority, if tls { 443 } else { 80 })).then_some(proxy)
    }

    fn is_direct(&self, authority: &str, default_port: u16) -> bool {
        let (host, port) = split_host(authority);
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = port.unwrap_or(default_port);
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
            return true;
        }
        self.no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
            if entry == "*" {
                return true;
            }
            if let Some(address) = address {
                let (alone, wanted) = split_host(&entry);
                return in_network(address, &entry)
                    || entry.trim_matches(['[', ']']).parse() == Ok(address)
                    || (alone.trim_matches(['[', ']']).parse() == Ok(address) && wanted == Some(port));
            }
            let (name, wanted) = split_host(&entry);
            if name.is_empty() || wanted.is_some_and(|wanted| wanted != port) {
                return false;
            }
            let name = name.strip_prefix('*').unwrap_or(name);
            match name.strip_prefix('.') {
                Some(_) => host.ends_with(name),
                None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
            }
        })
    }
}

/// `%41` as `A`.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.example:3128/").unwrap();
        assert_eq!(proxy.authority, "proxy.example:3128");
        let expected = format!("Basic {}", BASE64_STANDARD.encode("me:p@ss"));
        assert_eq!(proxy.authorization(), Some(expected));
        assert_eq!(format!("{proxy:?}"), "http://xxxxx:xxxxx@proxy.example:3128");
        let kind = |text: &str| Proxy::parse(text).unwrap().kind;
        assert_eq!(
            (kind("https://p"), kind("p:1"), kind("socks5h://p")),
            (Kind::Https, Kind::Http, Kind::Socks)
        );
        let said = Proxy::parse("socks4://me:secret@p").unwrap_err().full();
        assert!(said.contains("or socks5://") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn who_is_reached_directly() {
        let proxies = Proxies::from_env(|name| match name {
            "https_proxy" => Some("http://p:1".into()),
            "NO_PROXY" => Some("a.org, .b.org,10.0.0.0/8,c.org:5000,192.168.1.1,*.d.org,[fd00::1]".into()),
            _ => None,
        });
        let proxies = proxies.unwrap();
        assert_eq!(proxies.for_host("x.org", false), None, "none for http");
        for direct in [
            "localhost:5000",
            "127.0.0.1",
            "[::1]:5000",
            "a.org",
            "x.A.org:1",
            "x.b.org",
            "10.1.2.3:5000",
            "c.org:5000",
            "192.168.1.1",
            "x.d.org",
            "[fd00::1]:443",
        ] {
            assert_eq!(proxies.for_host(direct, true), None, "{direct}");
        }
        for through in ["xa.org", "b.org", "11.0.0.1", "c.org", "192.168.1.2", "d.org"] {
            assert!(proxies.for_host(through, true).is_some(), "{through}");
        }
        let all = Proxies { no_proxy: "*".into(), ..proxies };
        assert_eq!(all.for_host("x.org", true), None);
    }
}
