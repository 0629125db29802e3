//! What the engine knows of its networks and endpoints: bookkeeping without the kernel.

use super::inside::Inside;
use super::parent::check_parent;
use crate::dns::server::Server;
use crate::ipam::{Pool, overlap};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use wharf_model::error::{Error, Result};
use wharf_model::ids::{ContainerId, NetworkId};
use wharf_model::network::parent::{IpvlanLayer, MacvlanMode};
use wharf_model::network::{Driver, Endpoint, EndpointRequest, GatewayMode, NetworkSpec, Subnet};

/// Random bytes in the name of a veth: with the prefix, 15 characters, which is all an interface may have.
const NAME_BYTES: usize = 6;

/// Networks with their pools, and endpoints.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) networks: HashMap<NetworkId, NetworkState>,
    pub(super) endpoints: HashMap<(NetworkId, ContainerId), Endpoint>,
    /// Places in containers' namespaces that the engine holds on to.
    pub(super) insides: HashMap<(NetworkId, ContainerId), Inside>,
}

/// A network as it stands.
#[derive(Debug)]
pub(super) struct NetworkState {
    pub(super) spec: NetworkSpec,
    /// Index of the bridge; 0 without one.
    pub(super) index: u32,
    pub(super) pools: Vec<Pool>,
    pub(super) server: Option<Server>,
}

impl State {
    pub(super) fn network(&self, id: &NetworkId) -> Result<&NetworkState> {
        self.networks.get(id).ok_or_else(|| unknown(id))
    }

    fn network_mut(&mut self, id: &NetworkId) -> Result<&mut NetworkState> {
        self.networks.get_mut(id).ok_or_else(|| unknown(id))
    }

    /// Refuses a specification that clashes with another network.
    pub(super) fn check(&self, spec: &NetworkSpec) -> Result<()> {
        for other in self.networks.values().filter(|other| other.spec.id != spec.id) {
            let other = &other.spec;
            check_parent(spec, other)?;
            if !spec.bridge.is_empty() && other.bridge == spec.bridge {
                return Err(Error::conflict(format!(
                    "bridge {} already belongs to network {}",
                    spec.bridge, other.name
                )));
            }
            for (a, b) in spec.subnets.iter().flat_map(|a| other.subnets.iter().map(move |b| (a, b))) {
                if overlap((a.base, a.prefix), (b.base, b.prefix)) {
                    return Err(Error::conflict(format!(
                        "Pool overlaps with other one on this address space: {}/{} and {}/{} of network {}",
                        a.base, a.prefix, b.base, b.prefix, other.name
                    )));
                }
            }
        }
        Ok(())
    }

    /// Takes addresses and names for an endpoint.
    pub(super) fn reserve(&mut self, request: &EndpointRequest) -> Result<Endpoint> {
        let key = (request.network.clone(), request.container.clone());
        if self.endpoints.contains_key(&key) {
            return Err(Error::conflict(format!(
                "container {} is already in network {}",
                request.container.short(),
                self.network(&request.network)?.spec.name
            )));
        }
        let network = self.network_mut(&request.network)?;
        let (ipv4, ipv6) = network.allocate(request)?;
        let find = |ipv4: bool| network.spec.subnets.iter().find(|s| s.base.is_ipv4() == ipv4);
        // Nothing lies beyond the gateway of an internal network.
        let gateway = |ipv4: bool| find(ipv4).filter(|_| !network.spec.internal).map(|s| network.way_out(s));
        let prefix = |ipv4: bool| find(ipv4).map_or(0, |subnet| subnet.prefix);
        let ipv4 = ipv4.map(|address| (address, prefix(true)));
        let ipv6 = ipv6.map(|address| (address, prefix(false)));
        let is_bridge = network.spec.driver == Driver::Bridge;
        let has_interface = is_bridge || network.spec.driver.has_parent();
        let shares_mac =
            matches!(network.spec.driver, Driver::Ipvlan(..) | Driver::Macvlan(MacvlanMode::Passthru));
        let endpoint = Endpoint {
            network: request.network.clone(),
            container: request.container.clone(),
            interface: if has_interface { request.interface.clone() } else { String::new() },
            host_interface: if is_bridge { veth_name()? } else { String::new() },
            mac: match (request.mac, ipv4) {
                _ if shares_mac => [0; 6],
                (Some(mac), _) => mac,
                (None, Some((address, _))) => mac_of(address),
                (None, None) => random_mac()?,
            },
            ipv4,
            ipv6,
            gateway4: gateway(true).and_then(only_v4),
            gateway6: gateway(false).and_then(only_v6),
            names: request.names.clone(),
            default_route: request.default_route,
            extras: request.extras.clone(),
        };
        self.endpoints.insert(key, endpoint.clone());
        Ok(endpoint)
    }

    /// Takes over an endpoint that an earlier process reserved. Taking over what is known does nothing.
    pub(super) fn adopt(&mut self, endpoint: &Endpoint) -> Result<()> {
        let key = (endpoint.network.clone(), endpoint.container.clone());
        if self.endpoints.get(&key).is_some_and(|known| known == endpoint) {
            return Ok(());
        }
        if self.endpoints.contains_key(&key) {
            return Err(Error::conflict(format!(
                "container {} is already in this network, with other addresses",
                endpoint.container.short()
            )));
        }
        let network = self.network_mut(&endpoint.network)?;
        let mut taken = Vec::new();
        for address in addresses(endpoint) {
            if let Err(error) = network.take(address) {
                taken.into_iter().for_each(|address| network.release(address));
                return Err(error);
            }
            taken.push(address);
        }
        self.endpoints.insert(key, endpoint.clone());
        Ok(())
    }

    /// Frees what `reserve` or `adopt` took; nothing happens for an unknown endpoint.
    pub(super) fn release(&mut self, endpoint: &Endpoint) {
        let key = (endpoint.network.clone(), endpoint.container.clone());
        let Some(known) = self.endpoints.remove(&key) else { return };
        if let Some(network) = self.networks.get_mut(&endpoint.network) {
            addresses(&known).for_each(|address| network.release(address));
        }
    }
}

/// The network of whoever asks for none, where Docker serves no names inside either.
const DEFAULT_BRIDGE: &str = "bridge";

impl NetworkState {
    /// Whether containers are served names in their own namespaces.
    pub(super) fn serves_inside(&self) -> bool {
        self.is_cut_off() || (self.spec.driver == Driver::Bridge && self.spec.name != DEFAULT_BRIDGE)
    }

    /// Whether that is the only place, as they do not reach the host.
    pub(super) fn is_cut_off(&self) -> bool {
        self.spec.driver.has_parent()
            || (self.spec.driver == Driver::Bridge && self.spec.gateway_modes.0 == GatewayMode::Isolated)
    }

    /// The gateway that containers are given.
    fn way_out(&self, subnet: &Subnet) -> IpAddr {
        match (&self.spec.driver, subnet.base) {
            (Driver::Ipvlan(IpvlanLayer::L3 | IpvlanLayer::L3s, _), IpAddr::V4(_)) => {
                Ipv4Addr::UNSPECIFIED.into()
            }
            (Driver::Ipvlan(IpvlanLayer::L3 | IpvlanLayer::L3s, _), IpAddr::V6(_)) => {
                std::net::Ipv6Addr::UNSPECIFIED.into()
            }
            _ => subnet.gateway,
        }
    }

    /// Addresses for a request, all or none.
    fn allocate(
        &mut self,
        request: &EndpointRequest,
    ) -> Result<(Option<Ipv4Addr>, Option<std::net::Ipv6Addr>)> {
        let wishes = [(true, request.ipv4.map(IpAddr::from)), (false, request.ipv6.map(IpAddr::from))];
        let mut taken: Vec<IpAddr> = Vec::new();
        for (ipv4, wish) in wishes {
            let pool = self.pools.iter_mut().find(|pool| pool.subnet().base.is_ipv4() == ipv4);
            let result = match (pool, wish) {
                (None, None) => continue,
                (None, Some(address)) => Err(Error::invalid(format!(
                    "network {} has no subnet for address {address}: create it with --subnet",
                    self.spec.name
                ))),
                (Some(pool), Some(address)) => pool.take(address).map(|()| address),
                (Some(pool), None) => pool.allocate(),
            };
            match result {
                Ok(address) => taken.push(address),
                Err(error) => {
                    taken.into_iter().for_each(|address| self.release(address));
                    return Err(error);
                }
            }
        }
        Ok((taken.iter().copied().find_map(only_v4), taken.iter().copied().find_map(only_v6)))
    }

    fn take(&mut self, address: IpAddr) -> Result<()> {
        match self.pools.iter_mut().find(|pool| pool.subnet().base.is_ipv4() == address.is_ipv4()) {
            Some(pool) => pool.take(address),
            None => {
                Err(Error::invalid(format!("network {} has no subnet for address {address}", self.spec.name)))
            }
        }
    }

    fn release(&mut self, address: IpAddr) {
        for pool in &mut self.pools {
            pool.release(address);
        }
    }
}

/// The addresses of an endpoint.
pub(super) fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> + use<> {
    let ipv4 = endpoint.ipv4.map(|(address, _)| IpAddr::from(address));
    let ipv6 = endpoint.ipv6.map(|(address, _)| IpAddr::from(address));
    ipv4.into_iter().chain(ipv6)
}

fn unknown(id: &NetworkId) -> Error {
    Error::not_found(format!("network {} not found", id.short()))
}

fn only_v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn only_v6(address: IpAddr) -> Option<std::net::Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// A locally administered MAC address that holds the IPv4 address, as Docker's do: a container that gets
/// an address back keeps its place in neighbours' tables.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// A random, locally administered MAC address.
pub(super) fn random_mac() -> Result<[u8; 6]> {
    let mut mac = random::<6>()?;
    mac[0] = (mac[0] | 0x02) & !0x01;
    Ok(mac)
}

fn veth_name() -> Result<String> {
    let bytes = random::<NAME_BYTES>()?;
    Ok(bytes.iter().fold(String::from("vwh"), |name, byte| name + &format!("{byte:02x}")))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // Names need to differ, not to be secret: a machine that has just booted shall not wait for entropy.
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::INSECURE)
        .map_err(|errno| super::kernel("read random bytes", errno))?;
    debug_assert_eq!(filled, N, "getrandom(2) fills up to 256 bytes at once");
    Ok(bytes)
}
