//! Leading host ports to endpoints.

use super::{BridgeNetwork, kernel, lock};
use crate::conntrack::forget;
use crate::hold::HeldPorts;
use crate::nft::content::{HostPort, Target};
use crate::relay::{self, host_has_ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_failpoint::failpoint;
use wharf_model::error::{Error, Result};
use wharf_model::network::{Driver, Endpoint, GatewayMode, NetworkSpec};
use wharf_model::ports::{PortMapping, Protocol, PublishedPort};

impl BridgeNetwork {
    pub(super) fn publish_ports(
        &self,
        endpoint: &Endpoint,
        mappings: &[PortMapping],
    ) -> Result<Vec<PublishedPort>> {
        if mappings.is_empty() {
            return Ok(Vec::new());
        }
        let spec = lock(&self.state).network(&endpoint.network)?.spec.clone();
        // As everywhere: nothing is published into an internal network, nor where there is no bridge.
        if spec.internal || spec.driver != Driver::Bridge {
            return Ok(Vec::new());
        }
        let mut ports = lock(&self.ports);
        let mut published = Vec::new();
        let undo = |published: &[PublishedPort], ports: &mut HeldPorts| {
            published
                .iter()
                .filter(|port| port.host_port != 0)
                .for_each(|port| ports.release(&host_port(port)));
        };
        for mapping in mappings {
            let opened = opened(endpoint, &spec, mapping);
            let taken = self.ways(endpoint, &spec, mapping, opened.is_empty()).and_then(|ways| {
                if ways.is_empty() {
                    return Ok((ways, 0));
                }
                let protocol = mapping.container.protocol;
                let port = match mapping.host_ports {
                    Some(range) => ports.take_in(&ways, protocol, range),
                    None => ports.take_any(&ways, protocol),
                }?;
                Ok((ways, port))
            });
            match taken {
                Ok((ways, host_port)) => {
                    published.extend(opened);
                    published.extend(ways.into_iter().map(|(host_ip, _)| PublishedPort {
                        container: mapping.container,
                        host_ip,
                        host_port,
                    }));
                }
                Err(error) => {
                    undo(&published, &mut ports);
                    return Err(error);
                }
            }
        }
        failpoint!("network.ports-held");
        let added = self.add_rules(endpoint, &published).and_then(|()| self.relay(&mut ports, &published));
        failpoint!("network.published");
        let Err(error) = added else { return Ok(published) };
        undo(&published, &mut ports);
        let hosts: Vec<HostPort> = published.iter().map(host_port).collect();
        let mut table = lock(&self.table);
        match table.shut(&open_ports(endpoint, &published)).and_then(|()| table.unpublish(&hosts)) {
            Ok(()) => Err(error),
            Err(errno) => {
                let what = format!("{error} (and rules were left behind: {errno})");
                Err(Error::wrap(error.kind(), what, error))
            }
        }
    }

    pub(super) fn unpublish_ports(&self, endpoint: &Endpoint, published: &[PublishedPort]) -> Result<()> {
        let mut ports = lock(&self.ports);
        let ours: Vec<HostPort> = published
            .iter()
            .map(host_port)
            .filter(|port| target_ip(endpoint, port.ip).is_some_and(|ip| ports.is_for(port, ip)))
            .collect();
        let mut table = lock(&self.table);
        table.shut(&open_ports(endpoint, published)).and_then(|()| table.unpublish(&ours)).map_err(
            |errno| kernel(format!("remove ports from nftables table {}", self.table_name), errno),
        )?;
        failpoint!("network.unpublished");
        ours.iter().for_each(|port| ports.release(port));
        forget_flows(ours.into_iter())
    }

    pub(super) fn adopt_ports(&self, endpoint: &Endpoint, published: &[PublishedPort]) -> Result<()> {
        let mut ports = lock(&self.ports);
        for port in published.iter().filter(|port| port.host_port != 0) {
            let host = host_port(port);
            let target = target(endpoint, host.ip, port.container.port)?;
            ports.adopt(host, target)?;
        }
        self.relay(&mut ports, published)?;
        self.add_rules(endpoint, published)
    }

    /// Relays what the kernel cannot lead: IPv6, of which `::1` never goes through the rules.
    fn relay(&self, ports: &mut HeldPorts, published: &[PublishedPort]) -> Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let held = published.iter().filter(|port| port.host_port != 0);
        let relayed = held.map(host_port).filter(is_relayed);
        relayed.into_iter().try_for_each(|port| ports.relay(&port, runtime))
    }

    /// The host addresses that a mapping means, each with where it leads.
    /// None at all is an error where `required`.
    fn ways(
        &self,
        endpoint: &Endpoint,
        spec: &NetworkSpec,
        mapping: &PortMapping,
        required: bool,
    ) -> Result<Vec<(IpAddr, Target)>> {
        let port = mapping.container.port;
        let is_possible = |ip: IpAddr, target: IpAddr| {
            let host = HostPort { ip, protocol: mapping.container.protocol, port };
            ip.is_ipv4() == target.is_ipv4() || (self.runtime.is_some() && is_relayed(&host))
        };
        let is_nat = |ip: IpAddr| mode(spec, ip) == GatewayMode::Nat;
        if let Some(ip) = bound_to(spec, mapping) {
            if !required && !is_nat(ip) {
                return Ok(Vec::new());
            }
            let target = target(endpoint, ip, port)?;
            return if is_possible(ip, target.0) { Ok(vec![(ip, target)]) } else { Err(no_address(ip)) };
        }
        let mut every = vec![IpAddr::from(Ipv4Addr::UNSPECIFIED)];
        if endpoint.ipv6.is_some() || host_has_ipv6() {
            every.push(Ipv6Addr::UNSPECIFIED.into());
        }
        let ways: Vec<_> = every
            .into_iter()
            .filter_map(|ip| Some((ip, (target_ip(endpoint, ip)?, port))))
            // What is routed is not passed on from another family either.
            .filter(|(ip, target)| is_possible(*ip, target.0) && is_nat(*ip) && is_nat(target.0))
            .collect();
        if ways.is_empty() && required {
            return Err(Error::invalid("a container without an address cannot have published ports"));
        }
        Ok(ways)
    }

    fn add_rules(&self, endpoint: &Endpoint, published: &[PublishedPort]) -> Result<()> {
        let entries = published
            .iter()
            .filter(|port| port.host_port != 0)
            .map(|port| Ok((host_port(port), target(endpoint, port.host_ip, port.container.port)?)))
            .collect::<Result<Vec<_>>>()?;
        // The rest is relayed.
        let entries: Vec<_> =
            entries.into_iter().filter(|(host, target)| host.ip.is_ipv4() == target.0.is_ipv4()).collect();
        let mut table = lock(&self.table);
        table
            .publish(&entries)
            .and_then(|()| table.open(&open_ports(endpoint, published)))
            .map_err(|errno| kernel(format!("add ports to nftables table {}", self.table_name), errno))?;
        forget_flows(entries.into_iter().map(|(host, _)| host))
    }
}

/// How containers of a network are reached by the family of an address.
fn mode(spec: &NetworkSpec, ip: IpAddr) -> GatewayMode {
    if ip.is_ipv4() { spec.gateway_modes.0 } else { spec.gateway_modes.1 }
}

/// The address of the host that a mapping means; `None` for every one.
fn bound_to(spec: &NetworkSpec, mapping: &PortMapping) -> Option<IpAddr> {
    mapping.host_ip.or(spec.binding.filter(|ip| !ip.is_unspecified()))
}

/// What of a mapping is reached by the container's own addresses. No port of the host belongs to it: it is written as 0.
fn opened(endpoint: &Endpoint, spec: &NetworkSpec, mapping: &PortMapping) -> Vec<PublishedPort> {
    let own = super::state::addresses(endpoint);
    let is_meant = |ip: &IpAddr| mapping.host_ip.is_none_or(|host| host.is_ipv4() == ip.is_ipv4());
    own.filter(|ip| mode(spec, *ip) == GatewayMode::Routed && is_meant(ip))
        .map(|ip| PublishedPort {
            container: mapping.container,
            host_ip: if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() },
            host_port: 0,
        })
        .collect()
}

/// The container's own ports that `opened` means.
fn open_ports(endpoint: &Endpoint, published: &[PublishedPort]) -> Vec<HostPort> {
    let own: Vec<IpAddr> = super::state::addresses(endpoint).collect();
    let of_family = |ip: IpAddr| own.iter().copied().find(|own| own.is_ipv4() == ip.is_ipv4());
    published
        .iter()
        .filter(|port| port.host_port == 0)
        .filter_map(|port| {
            let ip = of_family(port.host_ip)?;
            Some(HostPort { ip, protocol: port.container.protocol, port: port.container.port })
        })
        .collect()
}

/// Flows of UDP ports that began under other rules must begin anew.
fn forget_flows(ports: impl Iterator<Item = HostPort>) -> Result<()> {
    let udp: Vec<HostPort> = ports.filter(|port| port.protocol == Protocol::Udp).collect();
    if udp.is_empty() {
        return Ok(());
    }
    forget(&udp).map_err(|errno| kernel("forget old flows of UDP ports", errno))
}

/// Whether what comes to the port may need a relay.
fn is_relayed(port: &HostPort) -> bool {
    port.ip.is_ipv6() && relay::exists(port.protocol)
}

fn target(endpoint: &Endpoint, host_ip: IpAddr, port: u16) -> Result<Target> {
    target_ip(endpoint, host_ip).map(|ip| (ip, port)).ok_or_else(|| no_address(host_ip))
}

fn no_address(host_ip: IpAddr) -> Error {
    let family = if host_ip.is_ipv4() { "IPv4" } else { "IPv6" };
    Error::invalid(format!(
        "cannot publish on {host_ip}: the container has no {family} address; use a network with an {family} subnet"
    ))
}

/// The container's address of the same family; for IPv6 else that of IPv4.
fn target_ip(endpoint: &Endpoint, host_ip: IpAddr) -> Option<IpAddr> {
    let ipv4 = endpoint.ipv4.map(|(address, _)| address.into());
    if host_ip.is_ipv4() { ipv4 } else { endpoint.ipv6.map(|(address, _)| address.into()).or(ipv4) }
}

fn host_port(port: &PublishedPort) -> HostPort {
    HostPort { ip: port.host_ip, protocol: port.container.protocol, port: port.host_port }
}
