//! Where an engine listens.

use super::Error;
use std::fmt;
use std::path::PathBuf;

/// An engine's address, as `-H` and `DOCKER_HOST` write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///run/engine.sock`
    Unix(PathBuf),
    /// `tcp://host:port`
    Tcp(String),
    /// `tcp://host:port` with TLS
    Tls(String, TlsFiles),
}

/// What TLS with an engine takes, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that must have signed the engine's certificate; `None` takes any certificate.
    pub authority: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Endpoint {
    /// Reads an address; `tls` is for `tcp://`.
    ///
    /// # Errors
    /// `Invalid`, with what is wrong.
    pub fn parse(text: &str, tls: Option<TlsFiles>) -> Result<Self, Error> {
        let invalid = |why: &str| {
            Err(Error::Invalid(format!(
                "invalid engine address {text:?}: {why}; use unix:///path/to/socket or tcp://host:port"
            )))
        };
        match text.split_once("://") {
            // Docker's client, too, has no use for TLS here.
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("unix", _)) => invalid("the path of the socket must be absolute"),
            Some(("tcp" | "http" | "https", rest)) => {
                let address = rest.trim_end_matches('/');
                if address.is_empty() || address.contains('/') {
                    return invalid("a host and a port are expected");
                }
                let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
                    !host.is_empty()
                        && (!host.contains(':') || host.ends_with(']'))
                        && port.parse::<u16>().is_ok()
                });
                // The ports that Docker assumes.
                let port = if tls.is_some() { 2376 } else { 2375 };
                let address = if has_port { address.to_owned() } else { format!("{address}:{port}") };
                Ok(match tls {
                    None => Self::Tcp(address),
                    Some(files) => Self::Tls(address, files),
                })
            }
            Some((scheme, _)) => invalid(&format!("{scheme}:// is not supported")),
            None => invalid("the scheme is missing"),
        }
    }
}

impl std::str::FromStr for Endpoint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, None)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) | Self::Tls(address, _) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<Endpoint>().map(|e| e.to_string());
        assert_eq!(parse("unix:///run/x.sock").unwrap(), "unix:///run/x.sock");
        assert_eq!(parse("tcp://127.0.0.1:2376").unwrap(), "tcp://127.0.0.1:2376");
        assert_eq!(parse("tcp://box").unwrap(), "tcp://box:2375");
        assert_eq!(parse("tcp://[::1]:99/").unwrap(), "tcp://[::1]:99");
        let tls = |text: &str| {
            Endpoint::parse(text, Some(TlsFiles { authority: None, identity: None })).map(|e| e.to_string())
        };
        assert_eq!(tls("tcp://box").unwrap(), "tcp://box:2376");
        assert_eq!(tls("tcp://box:2375").unwrap(), "tcp://box:2375");
        for bad in ["", "run.sock", "unix://x", "ssh://box", "tcp://"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
