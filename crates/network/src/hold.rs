//! Host ports in use: each is held by a bound socket, so that other programs and engines see it taken.
//!
//! Packets for them are led to containers before they would reach a socket, so only those listen whose
//! connections are relayed.

use crate::nft::content::{HostPort, Target, number};
use crate::relay::Relay;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol as IpProtocol, SocketType};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use tokio::runtime::Handle;
use wharf_model::error::{Error, ErrorKind, Result};
use wharf_model::ports::Protocol;

/// Where the kernel says which ports are for choosing from.
const EPHEMERAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// The kernel's default range.
const DEFAULT_RANGE: (u16, u16) = (32768, 60999);

/// The host ports of one engine.
#[derive(Debug, Default)]
pub(crate) struct HeldPorts {
    held: BTreeMap<HostPort, Held>,
    /// The ephemeral port given last.
    last: u16,
}

#[derive(Debug)]
struct Held {
    target: Target,
    /// `None` for a protocol that this kernel has no sockets for, and when a relay has it.
    socket: Option<OwnedFd>,
    relay: Option<Relay>,
}

impl Held {
    fn new(target: Target, socket: Option<OwnedFd>) -> Self {
        Self { target, socket, relay: None }
    }
}

impl HeldPorts {
    /// Takes the same port on every address, the first of `range` that is free on all of them.
    /// `Conflict` when there is none.
    pub(crate) fn take_in(
        &mut self,
        addresses: &[(IpAddr, Target)],
        protocol: Protocol,
        range: (u16, u16),
    ) -> Result<u16> {
        self.first_free(addresses, protocol, range.0..=range.1)
    }

    /// Takes the same port on every address, from the kernel's ephemeral range, beginning after the port
    /// that was given last.
    pub(crate) fn take_any(&mut self, addresses: &[(IpAddr, Target)], protocol: Protocol) -> Result<u16> {
        let (first, last) = ephemeral_range();
        let start = if (first..last).contains(&self.last) { self.last + 1 } else { first };
        let port = self.first_free(addresses, protocol, (start..=last).chain(first..start))?;
        self.last = port;
        Ok(port)
    }

    /// Takes one port again that an earlier process held. A port that another program took meanwhile is
    /// still ours by the rules; that is said, not refused.
    pub(crate) fn adopt(&mut self, port: HostPort, target: Target) -> Result<()> {
        if let Some(held) = self.held.get(&port) {
            if held.target == target {
                return Ok(());
            }
            return Err(taken(port));
        }
        let socket = match bind(port) {
            Ok(socket) => socket,
            Err(errno @ (Errno::ADDRINUSE | Errno::ADDRNOTAVAIL)) => {
                let address = SocketAddr::new(port.ip, port.port);
                tracing::warn!(%address, protocol = %port.protocol, %errno,
                    "a published port could not be held again; its connections still go to the container");
                None
            }
            Err(errno) => return Err(failed(port, errno)),
        };
        self.held.insert(port, Held::new(target, socket));
        Ok(())
    }

    /// Whether this engine holds the port for `target`.
    pub(crate) fn is_for(&self, port: &HostPort, address: IpAddr) -> bool {
        self.held.get(port).is_some_and(|held| held.target.0 == address)
    }

    /// Passes on what comes to a held port, in a task of `runtime`.
    pub(crate) fn relay(&mut self, port: &HostPort, runtime: &Handle) -> Result<()> {
        let Some(held) = self.held.get_mut(port) else { return Ok(()) };
        if let Some(socket) = held.socket.take() {
            let relay = Relay::start(runtime, port.protocol, socket, held.target).map_err(|error| {
                let address = SocketAddr::new(port.ip, port.port);
                Error::wrap(ErrorKind::Internal, format!("listen on {address}"), error)
            })?;
            held.relay = Some(relay);
        }
        Ok(())
    }

    /// Gives a port up; nothing happens when it is not held.
    pub(crate) fn release(&mut self, port: &HostPort) {
        self.held.remove(port);
    }

    fn first_free(
        &mut self,
        addresses: &[(IpAddr, Target)],
        protocol: Protocol,
        candidates: impl Iterator<Item = u16>,
    ) -> Result<u16> {
        let mut refusal = None;
        for port in candidates {
            match self.take(addresses, protocol, port) {
                Ok(()) => return Ok(port),
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::invalid("the range of host ports is empty")))
    }

    /// Takes a port on all addresses or on none.
    fn take(&mut self, addresses: &[(IpAddr, Target)], protocol: Protocol, port: u16) -> Result<()> {
        let mut sockets = BTreeMap::new();
        for (ip, target) in addresses {
            let host = HostPort { ip: *ip, protocol, port };
            if self.overlaps(&host) {
                return Err(taken(host));
            }
            let socket = bind(host).map_err(|errno| match errno {
                Errno::ADDRINUSE => taken(host),
                // Docker's words.
                Errno::ADDRNOTAVAIL => Error::internal(format!(
                    "failed to bind host port for {}:{}/{}: cannot assign requested address",
                    SocketAddr::new(host.ip, host.port),
                    SocketAddr::from(*target),
                    host.protocol
                )),
                errno => failed(host, errno),
            })?;
            sockets.insert(host, Held::new(*target, socket));
        }
        self.held.extend(sockets);
        Ok(())
    }

    /// Whether the port is held on the address, or on every address while one is asked for, or the reverse.
    fn overlaps(&self, wanted: &HostPort) -> bool {
        let unspecified: BTreeSet<IpAddr> = [wanted.ip, unspecified(wanted.ip)].into();
        if unspecified.iter().any(|ip| self.held.contains_key(&HostPort { ip: *ip, ..*wanted })) {
            return true;
        }
        wanted.ip.is_unspecified()
            && self.held.keys().any(|held| {
                held.port == wanted.port
                    && held.protocol == wanted.protocol
                    && held.ip.is_ipv4() == wanted.ip.is_ipv4()
            })
    }
}

fn unspecified(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
}

fn taken(port: HostPort) -> Error {
    let address = SocketAddr::new(port.ip, port.port);
    Error::conflict(format!("Bind for {address} failed: port is already allocated"))
}

fn failed(port: HostPort, errno: Errno) -> Error {
    let address = SocketAddr::new(port.ip, port.port);
    match errno {
        Errno::ADDRNOTAVAIL => Error::invalid(format!(
            "Bind for {address} failed: cannot assign requested address: {} is not an address of this host",
            port.ip
        )),
        Errno::ACCESS => Error::wrap(
            ErrorKind::Forbidden,
            format!("Bind for {address} failed: ports below 1024 need CAP_NET_BIND_SERVICE"),
            errno,
        ),
        errno => Error::wrap(ErrorKind::Internal, format!("Bind for {address} failed"), errno),
    }
}

/// A socket bound to the port; `None` when the kernel has no sockets of the protocol (SCTP is a module).
fn bind(port: HostPort) -> Result<Option<OwnedFd>, Errno> {
    match open(port, false) {
        // Connections that ended a minute ago still block the port for those who do not ask to share it;
        // a listening or otherwise active socket blocks it in any case.
        Err(Errno::ADDRINUSE) if port.protocol == Protocol::Tcp => open(port, true).map(Some),
        Err(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::SOCKTNOSUPPORT)
            if port.protocol == Protocol::Sctp =>
        {
            Ok(None)
        }
        result => result.map(Some),
    }
}

fn open(port: HostPort, reuse: bool) -> Result<OwnedFd, Errno> {
    let family = if port.ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match port.protocol {
        Protocol::Tcp | Protocol::Sctp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let protocol = NonZeroU32::new(u32::from(number(port.protocol))).map(IpProtocol::from_raw);
    let socket = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, protocol)?;
    if port.ip.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if reuse {
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(port.ip, port.port))?;
    Ok(socket)
}

fn ephemeral_range() -> (u16, u16) {
    let parse = |text: String| {
        let mut words = text.split_whitespace();
        let range = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (range.0 <= range.1).then_some(range)
    };
    std::fs::read_to_string(EPHEMERAL_RANGE).ok().and_then(parse).unwrap_or(DEFAULT_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn wish(ip: IpAddr) -> [(IpAddr, Target); 1] {
        [(ip, (Ipv4Addr::new(10, 0, 0, 2).into(), 80))]
    }

    #[test]
    fn a_listening_program_is_seen() {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut held = HeldPorts::default();
        let error = held.take_in(&wish(LOOPBACK), Protocol::Tcp, (port, port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(error.to_string(), format!("Bind for 127.0.0.1:{port} failed: port is already allocated"));
        drop(listener);
        held.take_in(&wish(LOOPBACK), Protocol::Tcp, (port, port)).unwrap();
        assert!(TcpListener::bind((LOOPBACK, port)).is_err());
        held.release(&HostPort { ip: LOOPBACK, protocol: Protocol::Tcp, port });
        TcpListener::bind((LOOPBACK, port)).unwrap();
    }

    #[test]
    fn ports_are_chosen_and_not_repeated() {
        let mut held = HeldPorts::default();
        let first = held.take_any(&wish(LOOPBACK), Protocol::Tcp).unwrap();
        let second = held.take_any(&wish(LOOPBACK), Protocol::Tcp).unwrap();
        assert_ne!(first, second);
        held.release(&HostPort { ip: LOOPBACK, protocol: Protocol::Tcp, port: first });
        assert_ne!(held.take_any(&wish(LOOPBACK), Protocol::Tcp).unwrap(), first);
    }

    #[test]
    fn every_address_overlaps_one() {
        let mut held = HeldPorts::default();
        let port = held.take_any(&wish(LOOPBACK), Protocol::Udp).unwrap();
        let any = wish(Ipv4Addr::UNSPECIFIED.into());
        assert!(held.take_in(&any, Protocol::Udp, (port, port)).is_err());
        let other = held.take_any(&any, Protocol::Udp).unwrap();
        assert!(held.take_in(&wish(LOOPBACK), Protocol::Udp, (other, other)).is_err());
    }
}
