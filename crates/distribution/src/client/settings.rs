//! What may change while the client is used: insecure registries, mirrors, proxies.

use super::proxy::Proxies;
use super::transport::in_network;
use std::collections::BTreeMap;
use std::net::IpAddr;
use wharf_model::{Error, Result};

/// How registries are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Hosts that may be spoken to in the clear or with any certificate: `host`, `host:port` or a network.
    /// Loopback addresses are always among them.
    pub insecure_registries: Vec<String>,
    /// Where else to look for what is in a registry (`docker.io`), tried in this order before the registry itself.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// Through whom connections go.
    pub proxies: Proxies,
}

/// Another place with a registry's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    url: String,
    pub(super) is_plain: bool,
    /// `host` or `host:port`.
    pub(super) authority: String,
    /// What comes before the names of repositories there, with a slash at its end unless empty.
    pub(super) prefix: String,
}

impl Mirror {
    /// Reads `https://host[:port][/prefix]`, or `http://` for one that is spoken to in the clear. A path is put before
    /// the names of repositories, as proxies for several registries have it.
    ///
    /// # Errors
    /// `Invalid`, beginning with Docker's words.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: String| Err(Error::invalid(format!("invalid mirror: {why}")));
        let Some((scheme, rest)) = text.split_once("://") else {
            let hint = "must use either 'https://' or 'http://'";
            return refused(format!("no scheme specified for {text:?}: {hint}"));
        };
        if !matches!(scheme, "http" | "https") {
            return refused(format!("unsupported scheme {scheme:?} in {text:?}"));
        }
        if rest.contains(['?', '#']) {
            return refused(format!("query or fragment at end of the URI {text:?}"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return refused(format!("username/password not allowed in URI {text:?}"));
        }
        let is_address = authority.parse::<http::uri::Authority>().is_ok_and(|a| !a.host().is_empty());
        if !is_address {
            return refused(format!("{text:?} is not a valid URI"));
        }
        let path = path.trim_matches('/');
        Ok(Self {
            url: text.trim_end_matches('/').to_owned(),
            is_plain: scheme == "http",
            authority: authority.to_owned(),
            prefix: if path.is_empty() { String::new() } else { format!("{path}/") },
        })
    }

    /// As it was written.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it has a path, which Docker's own key does not take.
    pub fn has_path(&self) -> bool {
        !self.prefix.is_empty()
    }
}

impl Settings {
    /// Loopback always is, as with Docker; others when they are listed, by name, name and port, or network.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        let (host, _) = split_host(authority);
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost"
            || address.is_some_and(|a| a.is_loopback())
            || self.is_plain_mirror(authority)
            || self.insecure_registries.iter().any(|entry| {
                entry == authority || entry == host || address.is_some_and(|a| in_network(a, entry))
            })
    }

    /// Whether this is a mirror that is spoken to in the clear.
    pub(super) fn is_plain_mirror(&self, authority: &str) -> bool {
        self.mirrors.values().flatten().any(|m| m.is_plain && m.authority == authority)
    }
}

/// Host and port of `host:port`.
pub(super) fn split_host(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && !host.is_empty() => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_spoken_to_in_the_clear() {
        let settings = Settings {
            insecure_registries: vec!["reg.local:5000".into(), "other".into(), "10.0.0.0/8".into()],
            mirrors: BTreeMap::from([("docker.io".into(), vec![Mirror::parse("http://m:1").unwrap()])]),
            ..Settings::default()
        };
        for yes in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
            "reg.local:5000",
            "other:1",
            "10.1.2.3:5000",
            "m:1",
        ] {
            assert!(settings.is_insecure(yes), "{yes}");
        }
        for no in ["reg.local", "docker.io", "11.0.0.1", "localhost.evil.org", "m"] {
            assert!(!settings.is_insecure(no), "{no}");
        }
    }

    #[test]
    fn mirrors_are_addresses() {
        let mirror = Mirror::parse("https://m.example:5000/hub/").unwrap();
        assert_eq!((&mirror.authority[..], &mirror.prefix[..]), ("m.example:5000", "hub/"));
        assert!(mirror.has_path() && !mirror.is_plain && mirror.url() == "https://m.example:5000/hub");
        for (bad, why) in [
            ("m.example", "no scheme specified"),
            ("ftp://m", "unsupported scheme \"ftp\""),
            ("https://u:p@m", "username/password not allowed"),
            ("https://m/?x", "query or fragment"),
            ("https://", "is not a valid URI"),
        ] {
            let said = Mirror::parse(bad).unwrap_err().full();
            assert!(said.contains(why), "{said}");
        }
    }
}
