//! Giving a network namespace an endpoint, and taking it back.

use super::parent::delete_inside;
use super::state::addresses;
use super::{BridgeNetwork, kernel, lock};
use crate::link::{self, InsideWish, VethWish};
use crate::namespace::within;
use crate::netlink::socket::Socket;
use crate::parameters;
use crate::remove::remove;
use rustix::io::Errno;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use wharf_failpoint::failpoint;
use wharf_model::error::{Error, Result};
use wharf_model::network::{Driver, Endpoint, NetworkSpec, Traffic};
use wharf_model::ports::PublishedPort;

impl BridgeNetwork {
    pub(super) fn connect_endpoint(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        let (spec, bridge_index, serves_inside) = {
            let state = lock(&self.state);
            if !state.endpoints.contains_key(&(endpoint.network.clone(), endpoint.container.clone())) {
                return Err(Error::not_found(format!(
                    "container {} has no reservation in this network",
                    endpoint.container.short()
                )));
            }
            let network = state.network(&endpoint.network)?;
            (network.spec.clone(), network.index, network.serves_inside())
        };
        match spec.driver {
            // The namespace is the host's own: nothing to do in it.
            Driver::Host => return Ok(()),
            Driver::None => {
                return within(netns, || link::loopback_only(&mut Socket::route()?))
                    .map_err(|errno| kernel("bring loopback up", errno));
            }
            Driver::Macvlan(_) | Driver::Ipvlan(..) => return self.connect_child(endpoint, &spec, netns),
            Driver::Bridge => {}
        }
        let bridge = &spec.bridge;
        let mut wish = VethWish {
            host_name: &endpoint.host_interface,
            alias: &self.mark,
            bridge: bridge_index,
            isolated: !spec.icc,
            mtu: spec.mtu,
            peer_name: &endpoint.interface,
            peer_mac: endpoint.mac,
            netns,
        };
        let mut created = link::create_veth(&mut lock(&self.route), &wish);
        if let Err(Errno::INVAL | Errno::NODEV) = created {
            // Somebody removed the bridge.
            self.ensure_network(&spec)?;
            wish.bridge = lock(&self.state).network(&endpoint.network)?.index;
            created = link::create_veth(&mut lock(&self.route), &wish);
        }
        created.map_err(|errno| {
            let what = format!("create interface {} on bridge {bridge}", endpoint.interface);
            match errno {
                // The kernel's limit (BR_MAX_PORTS).
                Errno::XFULL => Error::conflict(format!(
                    "{what}: it has 1,023 interfaces, as many as a bridge can have: use a second network"
                )),
                errno => kernel(what, errno),
            }
        })?;
        failpoint!("network.veth");
        let configured = configure(endpoint, netns)
            .map_err(|errno| kernel(format!("configure interface {}", endpoint.interface), errno))
            .and_then(|()| if serves_inside { self.settle_inside(endpoint, netns) } else { Ok(()) });
        if let Err(error) = configured {
            return Err(match link::delete(&mut lock(&self.route), &endpoint.host_interface) {
                Ok(()) => error,
                Err(errno) => Error::wrap(
                    error.kind(),
                    format!("{error} (and {} was left behind: {errno})", endpoint.host_interface),
                    error,
                ),
            });
        }
        self.dns.update(|directory| directory.add(endpoint));
        Ok(())
    }

    fn connect_child(&self, endpoint: &Endpoint, spec: &NetworkSpec, netns: BorrowedFd<'_>) -> Result<()> {
        self.create_child(endpoint, spec, netns)?;
        let configured = configure(endpoint, netns)
            .map_err(|errno| kernel(format!("configure interface {}", endpoint.interface), errno))
            .and_then(|()| self.settle_inside(endpoint, netns));
        if let Err(error) = configured {
            return Err(match delete_inside(&endpoint.interface, netns) {
                Ok(()) => error,
                Err(second) => Error::wrap(error.kind(), format!("{error} (and {second})"), error),
            });
        }
        self.dns.update(|directory| directory.add(endpoint));
        Ok(())
    }

    pub(super) fn route_endpoint(&self, endpoint: &Endpoint, netns: BorrowedFd<'_>, on: bool) -> Result<()> {
        let gateways: Vec<IpAddr> = gateways(endpoint).collect();
        within(netns, || link::default_routes(&mut Socket::route()?, &endpoint.interface, &gateways, on))
            .map_err(|errno| kernel(format!("set the default route of {}", endpoint.interface), errno))
    }

    pub(super) fn disconnect_endpoint(&self, endpoint: &Endpoint, lives_on: bool) -> Result<()> {
        self.dns.update(|directory| directory.remove(&endpoint.network, &endpoint.container));
        // An interface on a parent has no end on the host to remove it by.
        if let Some(netns) = self.leave_inside(endpoint, lives_on)?
            && endpoint.host_interface.is_empty()
        {
            delete_inside(&endpoint.interface, netns.as_fd())?;
        }
        let removed =
            if endpoint.host_interface.is_empty() { Ok(()) } else { remove(&endpoint.host_interface) };
        failpoint!("network.removed");
        removed.map_err(|errno| kernel(format!("remove interface {}", endpoint.host_interface), errno))?;
        lock(&self.state).release(endpoint);
        Ok(())
    }

    pub(super) fn adopt_endpoint(
        &self,
        endpoint: &Endpoint,
        published: &[PublishedPort],
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let serves_inside = {
            let mut state = lock(&self.state);
            state.adopt(endpoint)?;
            state.network(&endpoint.network)?.serves_inside()
        };
        if serves_inside {
            self.settle_inside(endpoint, netns)?;
        }
        self.dns.update(|directory| directory.add(endpoint));
        self.adopt_ports(endpoint, published)
    }

    pub(super) fn endpoint_traffic(&self, endpoint: &Endpoint) -> Result<Traffic> {
        if let Some(traffic) = self.child_traffic(endpoint)? {
            return Ok(traffic);
        }
        let name = &endpoint.host_interface;
        let link = link::find(&mut lock(&self.route), name)
            .map_err(|errno| kernel(format!("read the counters of {name}"), errno))?
            .ok_or_else(|| Error::not_found(format!("interface {name} not found")))?;
        // What the host's end receives, the container has sent.
        let host = link.traffic;
        Ok(Traffic {
            rx_bytes: host.tx_bytes,
            rx_packets: host.tx_packets,
            rx_errors: host.tx_errors,
            rx_dropped: host.tx_dropped,
            tx_bytes: host.rx_bytes,
            tx_packets: host.rx_packets,
            tx_errors: host.rx_errors,
            tx_dropped: host.rx_dropped,
        })
    }
}

impl BridgeNetwork {
    /// The counters of an interface that has no other end on the host.
    fn child_traffic(&self, endpoint: &Endpoint) -> Result<Option<Traffic>> {
        let netns = {
            let state = lock(&self.state);
            let inside = state.insides.get(&(endpoint.network.clone(), endpoint.container.clone()));
            match inside.filter(|_| endpoint.host_interface.is_empty()) {
                Some(inside) => inside.netns.try_clone(),
                None => return Ok(None),
            }
        };
        let failed = |errno| kernel(format!("read the counters of {}", endpoint.interface), errno);
        let netns = netns.map_err(|e| failed(errno_of(e)))?;
        let link = within(netns.as_fd(), || link::find(&mut Socket::route()?, &endpoint.interface));
        Ok(link.map_err(failed)?.map(|link| link.traffic))
    }
}

fn configure(endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<(), Errno> {
    let prefixes = endpoint.ipv4.map(|(_, p)| p).into_iter().chain(endpoint.ipv6.map(|(_, p)| p));
    let extras = &endpoint.extras;
    let link_local = extras.link_local.iter().map(|a| (*a, if a.is_ipv4() { 16 } else { 64 }));
    let own: Vec<(IpAddr, u8)> = addresses(endpoint).zip(prefixes).chain(link_local).collect();
    let gateways: Vec<IpAddr> = gateways(endpoint).filter(|_| endpoint.default_route).collect();
    let wish = InsideWish { name: &endpoint.interface, addresses: &own, gateways: &gateways };
    within(netns, || {
        if !own.iter().any(|(address, _)| address.is_ipv6()) {
            without_ipv6(&endpoint.interface)?;
        }
        for (key, value) in &extras.sysctls {
            let path = key.replace('.', "/").replace("/IFNAME/", &format!("/{}/", endpoint.interface));
            parameters::write(&path, value)?;
        }
        link::configure_inside(&mut Socket::route()?, &wish)
    })
}

fn gateways(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> + use<> {
    endpoint.gateway4.map(IpAddr::from).into_iter().chain(endpoint.gateway6.map(IpAddr::from))
}

/// An interface with IPv6 tells its groups to all of the bridge when it comes up: with a thousand containers, that is what
/// a start would mostly consist of.
fn without_ipv6(interface: &str) -> Result<(), Errno> {
    match parameters::write(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1") {
        // A kernel without IPv6.
        Err(Errno::NOENT) => Ok(()),
        written => written,
    }
}

fn errno_of(e: std::io::Error) -> Errno {
    Errno::from_io_error(&e).unwrap_or(Errno::IO)
}
