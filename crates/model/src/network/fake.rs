//! A network in memory, for tests of those who use the seam.

use super::{Driver, Endpoint, EndpointRequest, Network, NetworkSpec, ResolverConfig, Subnet, Traffic};
use crate::error::{Error, Result};
use crate::ids::{ContainerId, NetworkId};
use crate::ports::{PortMapping, PublishedPort};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// First port given where the mapping leaves the choice.
const FIRST_EPHEMERAL: u16 = 32768;

/// A network without a kernel. `fail_next` makes an operation fail, to test what callers undo.
#[derive(Debug, Default)]
pub struct FakeNetwork {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    networks: BTreeMap<NetworkId, NetworkSpec>,
    endpoints: BTreeMap<(NetworkId, ContainerId), Endpoint>,
    connected: BTreeSet<(NetworkId, ContainerId)>,
    ports: BTreeMap<(IpAddr, String, u16), ContainerId>,
    /// Last address offset given, by network.
    last: BTreeMap<NetworkId, u32>,
    failing: BTreeSet<&'static str>,
}

impl FakeNetwork {
    /// Nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next call of the named operation (`connect`, `publish`, …) fail with `Internal`.
    pub fn fail_next(&self, operation: &'static str) {
        self.lock().failing.insert(operation);
    }

    /// Containers that have an interface now.
    pub fn connected(&self) -> Vec<(NetworkId, ContainerId)> {
        self.lock().connected.iter().cloned().collect()
    }

    /// Reservations that have not ended.
    pub fn reserved(&self) -> Vec<Endpoint> {
        self.lock().endpoints.values().cloned().collect()
    }

    /// Host ports in use.
    pub fn published(&self) -> Vec<(IpAddr, u16)> {
        self.lock().ports.keys().map(|(ip, _, port)| (*ip, *port)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.failing.remove(operation) {
            return Err(Error::internal(format!("{operation} fails because the test wants it")));
        }
        Ok(state)
    }
}

impl State {
    fn network(&self, id: &NetworkId) -> Result<&NetworkSpec> {
        self.networks.get(id).ok_or_else(|| Error::not_found(format!("network {} not found", id.short())))
    }

    fn is_taken(&self, network: &NetworkId, ip: IpAddr) -> bool {
        let gateway = self.networks.get(network).is_some_and(|n| n.subnets.iter().any(|s| s.gateway == ip));
        gateway
            || self.endpoints.iter().any(|((id, _), e)| {
                id == network
                    && (e.ipv4.is_some_and(|(own, _)| ip == own) || e.ipv6.is_some_and(|(own, _)| ip == own))
            })
    }

    fn allocate(&mut self, request: &EndpointRequest, subnet: &Subnet) -> Result<IpAddr> {
        let wish = match subnet.base {
            IpAddr::V4(_) => request.ipv4.map(IpAddr::from),
            IpAddr::V6(_) => request.ipv6.map(IpAddr::from),
        };
        if let Some(ip) = wish {
            if !holds(subnet, ip) {
                return Err(Error::invalid(format!("address {ip} is not in the network's subnet")));
            }
            if self.is_taken(&request.network, ip) {
                return Err(Error::conflict(format!("address already in use: {ip}")));
            }
            return Ok(ip);
        }
        let size = 1u32.checked_shl(bits(subnet.base) - u32::from(subnet.prefix)).unwrap_or(u32::MAX);
        let start = *self.last.get(&request.network).unwrap_or(&0);
        for step in 1..size {
            let offset = (start + step) % (size - 1);
            let ip = plus(subnet.base, offset);
            if offset > 0 && !self.is_taken(&request.network, ip) {
                self.last.insert(request.network.clone(), offset);
                return Ok(ip);
            }
        }
        Err(Error::conflict("no available addresses"))
    }
}

impl Network for FakeNetwork {
    fn ensure(&self, spec: &NetworkSpec) -> Result<()> {
        let mut state = self.begin("ensure")?;
        for other in state.networks.values().filter(|other| other.id != spec.id) {
            let clash = |a: &Subnet| other.subnets.iter().any(|b| holds(a, b.base) || holds(b, a.base));
            if spec.subnets.iter().any(clash) {
                return Err(Error::conflict("Pool overlaps with other one on this address space"));
            }
        }
        state.networks.insert(spec.id.clone(), spec.clone());
        Ok(())
    }

    fn remove(&self, id: &NetworkId) -> Result<()> {
        let mut state = self.begin("remove")?;
        let name = state.network(id)?.name.clone();
        if state.endpoints.keys().any(|(network, _)| network == id) {
            return Err(Error::conflict(format!("network {name} has active endpoints")));
        }
        state.networks.remove(id);
        Ok(())
    }

    fn free_subnet(&self) -> Result<Subnet> {
        let state = self.begin("free_subnet")?;
        (17..=31)
            .map(|second| Subnet {
                base: Ipv4Addr::new(172, second, 0, 0).into(),
                prefix: 16,
                gateway: Ipv4Addr::new(172, second, 0, 1).into(),
                range: None,
                auxiliary: Default::default(),
            })
            .find(|free| {
                let mut used = state.networks.values().flat_map(|n| &n.subnets);
                !used.any(|used| holds(free, used.base) || holds(used, free.base))
            })
            .ok_or_else(|| Error::conflict("all predefined address pools have been fully subnetted"))
    }

    fn reserve(&self, request: &EndpointRequest) -> Result<Endpoint> {
        let mut state = self.begin("reserve")?;
        let spec = state.network(&request.network)?.clone();
        let key = (request.network.clone(), request.container.clone());
        if state.endpoints.contains_key(&key) {
            return Err(Error::conflict(format!(
                "container {} is already in network {}",
                request.container.short(),
                spec.name
            )));
        }
        let mut endpoint = Endpoint {
            network: request.network.clone(),
            container: request.container.clone(),
            interface: request.interface.clone(),
            host_interface: format!("vwh{}", &request.container.as_str()[..12]),
            ipv4: None,
            ipv6: None,
            mac: request.mac.unwrap_or([2, 0x42, 0, 0, 0, 0]),
            gateway4: None,
            gateway6: None,
            names: request.names.clone(),
            default_route: request.default_route,
            extras: request.extras.clone(),
        };
        for subnet in &spec.subnets {
            let outward = !spec.internal;
            match (state.allocate(request, subnet)?, subnet.gateway) {
                (IpAddr::V4(ip), IpAddr::V4(gateway)) => {
                    endpoint.ipv4 = Some((ip, subnet.prefix));
                    endpoint.gateway4 = outward.then_some(gateway);
                    if request.mac.is_none() {
                        endpoint.mac[2..].copy_from_slice(&ip.octets());
                    }
                }
                (IpAddr::V6(ip), IpAddr::V6(gateway)) => {
                    endpoint.ipv6 = Some((ip, subnet.prefix));
                    endpoint.gateway6 = outward.then_some(gateway);
                }
                _ => return Err(Error::invalid("the gateway is of the other address family")),
            }
        }
        if request.ipv4.is_some() != (request.ipv4.is_some() && endpoint.ipv4.is_some()) {
            return Err(Error::invalid(format!("network {} has no IPv4 subnet", spec.name)));
        }
        state.endpoints.insert(key, endpoint.clone());
        Ok(endpoint)
    }

    fn connect(&self, endpoint: &Endpoint, _netns: BorrowedFd<'_>) -> Result<()> {
        let mut state = self.begin("connect")?;
        let key = (endpoint.network.clone(), endpoint.container.clone());
        if !state.endpoints.contains_key(&key) {
            return Err(Error::not_found("the container has no reservation in this network"));
        }
        state.connected.insert(key);
        Ok(())
    }

    fn route(&self, endpoint: &Endpoint, _netns: BorrowedFd<'_>, _on: bool) -> Result<()> {
        let state = self.begin("route")?;
        if state.connected.contains(&(endpoint.network.clone(), endpoint.container.clone())) {
            Ok(())
        } else {
            Err(Error::not_found("the container has no interface in this network"))
        }
    }

    fn disconnect(&self, endpoint: &Endpoint) -> Result<()> {
        let mut state = self.begin("disconnect")?;
        let key = (endpoint.network.clone(), endpoint.container.clone());
        state.connected.remove(&key);
        state.endpoints.remove(&key);
        Ok(())
    }

    fn adopt(&self, endpoint: &Endpoint, published: &[PublishedPort], _netns: BorrowedFd<'_>) -> Result<()> {
        let mut state = self.begin("adopt")?;
        state.network(&endpoint.network)?;
        let key = (endpoint.network.clone(), endpoint.container.clone());
        state.endpoints.insert(key.clone(), endpoint.clone());
        state.connected.insert(key);
        for port in published {
            let protocol = port.container.protocol.to_string();
            state.ports.insert((port.host_ip, protocol, port.host_port), endpoint.container.clone());
        }
        Ok(())
    }

    fn publish(&self, endpoint: &Endpoint, mappings: &[PortMapping]) -> Result<Vec<PublishedPort>> {
        let mut state = self.begin("publish")?;
        let spec = state.network(&endpoint.network)?;
        if spec.internal || spec.driver != Driver::Bridge {
            return Ok(Vec::new());
        }
        let mut taken = state.ports.clone();
        let mut published = Vec::new();
        for mapping in mappings {
            let ips = match mapping.host_ip {
                Some(ip) => vec![ip],
                None => {
                    let v4 = endpoint.ipv4.map(|_| IpAddr::from(Ipv4Addr::UNSPECIFIED));
                    let v6 = endpoint.ipv6.map(|_| IpAddr::from(Ipv6Addr::UNSPECIFIED));
                    v4.into_iter().chain(v6).collect()
                }
            };
            let protocol = mapping.container.protocol.to_string();
            let (first, last) = mapping.host_ports.unwrap_or((FIRST_EPHEMERAL, u16::MAX));
            let is_free = |port: &u16| {
                !taken.keys().any(|(held, proto, number)| {
                    number == port
                        && *proto == protocol
                        && ips.iter().any(|ip| {
                            ip == held
                                || (ip.is_ipv4() == held.is_ipv4()
                                    && (ip.is_unspecified() || held.is_unspecified()))
                        })
                })
            };
            let Some(port) = (first..=last).find(is_free) else {
                return Err(Error::conflict(format!(
                    "Bind for {} failed: port is already allocated",
                    std::net::SocketAddr::new(ips[0], first)
                )));
            };
            for ip in ips {
                taken.insert((ip, protocol.clone(), port), endpoint.container.clone());
                published.push(PublishedPort { container: mapping.container, host_ip: ip, host_port: port });
            }
        }
        state.ports = taken;
        Ok(published)
    }

    fn unpublish(&self, endpoint: &Endpoint, published: &[PublishedPort]) -> Result<()> {
        let mut state = self.begin("unpublish")?;
        for port in published {
            let key = (port.host_ip, port.container.protocol.to_string(), port.host_port);
            if state.ports.get(&key) == Some(&endpoint.container) {
                state.ports.remove(&key);
            }
        }
        Ok(())
    }

    fn traffic(&self, endpoint: &Endpoint) -> Result<Traffic> {
        let state = self.begin("traffic")?;
        if state.connected.contains(&(endpoint.network.clone(), endpoint.container.clone())) {
            Ok(Traffic::default())
        } else {
            Err(Error::not_found("the container has no interface in this network"))
        }
    }

    fn resolver(&self, network: &NetworkId) -> Result<ResolverConfig> {
        let state = self.begin("resolver")?;
        let nameservers = state.network(network)?.subnets.iter().map(|subnet| subnet.gateway).collect();
        Ok(ResolverConfig { nameservers, ..ResolverConfig::default() })
    }

    fn sweep(&self, networks: &[NetworkSpec], endpoints: &[Endpoint]) -> Result<()> {
        let mut state = self.begin("sweep")?;
        state.networks.retain(|id, _| networks.iter().any(|n| n.id == *id));
        let known = |(network, container): &(NetworkId, ContainerId)| {
            endpoints.iter().any(|e| e.network == *network && e.container == *container)
        };
        state.endpoints.retain(|key, _| known(key));
        state.connected.retain(known);
        Ok(())
    }

    fn teardown(&self) -> Result<()> {
        *self.begin("teardown")? = State::default();
        Ok(())
    }
}

fn bits(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn plus(base: IpAddr, offset: u32) -> IpAddr {
    match base {
        IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits() + offset).into(),
        IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits() + u128::from(offset)).into(),
    }
}

fn holds(subnet: &Subnet, ip: IpAddr) -> bool {
    let shift = bits(subnet.base) - u32::from(subnet.prefix);
    match (subnet.base, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            a.to_bits().checked_shr(shift).unwrap_or(0) == b.to_bits().checked_shr(shift).unwrap_or(0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use std::fs::File;

    #[test]
    fn the_fake_conforms() {
        let make = || Box::new(FakeNetwork::new()) as Box<dyn Network>;
        let netns = || File::open("/dev/null").unwrap().into();
        conformance::run(&make, &netns);
    }

    #[test]
    fn wanted_failures_happen_once() {
        let fake = FakeNetwork::new();
        fake.fail_next("free_subnet");
        assert!(fake.free_subnet().is_err());
        assert!(fake.free_subnet().is_ok());
    }
}
