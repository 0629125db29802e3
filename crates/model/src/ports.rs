//! Port mappings: which port of the host leads to which port of a container.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A transport protocol that ports belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::invalid(format!("invalid proto: {text}: expected tcp, udp or sctp"))),
        }
    }
}

/// A port of a container with its protocol, written `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPort {
    /// 1–65535.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl FromStr for ContainerPort {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Self { port, protocol: protocol.parse()? }),
            _ => Err(Error::invalid(format!("invalid containerPort: {text}"))),
        }
    }
}

impl TryFrom<String> for ContainerPort {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ContainerPort> for String {
    fn from(port: ContainerPort) -> Self {
        port.to_string()
    }
}

/// A wish to publish a container's port on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The container's side.
    pub container: ContainerPort,
    /// The host address to listen on; `None` is every address of both families.
    pub host_ip: Option<IpAddr>,
    /// First and last host port to choose from; `None` lets the engine choose from the ephemeral range.
    pub host_ports: Option<(u16, u16)>,
}

/// A published port as it stands: one host address and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The container's side.
    pub container: ContainerPort,
    /// The host address; unspecified (`0.0.0.0`, `::`) means every address of that family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ports_parse() {
        assert_eq!("80".parse::<ContainerPort>().unwrap().to_string(), "80/tcp");
        assert_eq!("53/UDP".parse::<ContainerPort>().unwrap().to_string(), "53/udp");
        for bad in ["", "0", "70000", "80/icmp", "-1"] {
            assert!(bad.parse::<ContainerPort>().is_err(), "{bad}");
        }
    }
}
