//! DNS at 127.0.0.11 of a container's own namespace: for containers that do not reach the host, and in networks that users
//! make, where configurations (nginx's `resolver` among them) expect it as Docker has it. What does reach the host asks the
//! gateway, which costs less and goes on answering at once when the engine is started again.
//!
//! The sockets are the engine's, in the container's namespace, at ports that the kernel chose; a table of one chain leads
//! port 53 to them. So port 53 stays free there, also for a container that listens on every address.

use super::{BridgeNetwork, kernel, lock};
use crate::dns::server::{self, Server};
use crate::namespace::within;
use crate::nft::resolver;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use wharf_model::error::Result;
use wharf_model::network::Endpoint;

/// Where containers ask.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// A place in a container's namespace.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) netns: OwnedFd,
    /// `None` without a runtime.
    _server: Option<Server>,
    table: String,
}

impl BridgeNetwork {
    /// Remembers the namespace of an endpoint and serves names in it.
    pub(super) fn settle_inside(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        let table = format!("wharf-dns-{}", endpoint.network.short());
        let kept = netns
            .try_clone_to_owned()
            .map_err(|e| kernel("keep a network namespace", Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let asker = endpoint.ipv4.map(|(ip, _)| IpAddr::from(ip)).or(endpoint.ipv6.map(|(ip, _)| ip.into()));
        let server = match (&self.runtime, asker) {
            (Some(runtime), Some(asker)) => {
                let sockets = within(netns, || {
                    let sockets = server::bind_both(SocketAddr::from((ADDRESS, 0)))?;
                    let port = |fd: &OwnedFd| -> Result<u16, Errno> {
                        SocketAddr::try_from(rustix::net::getsockname(fd)?).map(|a| a.port())
                    };
                    resolver::lead(&table, ADDRESS, port(&sockets.0)?, port(&sockets.1)?)?;
                    Ok(sockets)
                })
                .map_err(|errno| kernel("serve names inside the container", errno))?;
                let started = Server::with(runtime, &self.dns, &endpoint.network, sockets, Some(asker));
                Some(started.map_err(|e| {
                    kernel("serve names inside the container", Errno::from_io_error(&e).unwrap_or(Errno::IO))
                })?)
            }
            _ => None,
        };
        let inside = Inside { netns: kept, _server: server, table };
        lock(&self.state).insides.insert((endpoint.network.clone(), endpoint.container.clone()), inside);
        Ok(())
    }

    /// Ends what was begun inside; the namespace, if it is known. The table goes with the namespace: removing it takes the
    /// kernel ten times as long as making it (a grace period), so that is only done where the container `lives_on`.
    pub(super) fn leave_inside(&self, endpoint: &Endpoint, lives_on: bool) -> Result<Option<OwnedFd>> {
        let key = (endpoint.network.clone(), endpoint.container.clone());
        let Some(inside) = lock(&self.state).insides.remove(&key) else { return Ok(None) };
        if lives_on {
            within(inside.netns.as_fd(), || resolver::remove(&inside.table))
                .map_err(|errno| kernel("remove the resolver inside the container", errno))?;
        }
        Ok(Some(inside.netns))
    }
}
