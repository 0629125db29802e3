//! What the kernel cannot lead: from IPv6 to a container with IPv4 only, and from `::1`.
//!
//! Everything else about published ports is the kernel's. These few connections and datagrams are taken on the held port
//! itself and passed on; they pause while no engine runs.

mod tcp;
mod udp;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use tokio::runtime::Handle;
use wharf_model::ports::Protocol;

/// Where the kernel lists its IPv6 addresses; absent or empty without IPv6.
const IPV6_ADDRESSES: &str = "/proc/net/if_inet6";

/// Whether this host has IPv6 at all.
pub(crate) fn host_has_ipv6() -> bool {
    std::fs::read(IPV6_ADDRESSES).is_ok_and(|list| !list.is_empty())
}

/// Whether there is a relay for ports of a protocol.
pub(crate) fn exists(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

/// A port that is passed on; ends when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    _kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp { _relay: tcp::Relay },
    Udp { _relay: udp::Relay },
}

impl Relay {
    /// Takes what comes to a bound IPv6 socket of a protocol, and passes it on to `target`.
    pub(crate) fn start(
        runtime: &Handle,
        protocol: Protocol,
        socket: OwnedFd,
        target: (IpAddr, u16),
    ) -> io::Result<Self> {
        let kind = match protocol {
            Protocol::Udp => Kind::Udp { _relay: udp::Relay::start(runtime, socket, target)? },
            _ => Kind::Tcp { _relay: tcp::Relay::start(runtime, socket, target)? },
        };
        Ok(Self { _kind: kind })
    }
}
