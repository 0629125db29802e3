//! What the table's sets and maps hold, in memory, so that the table can be restored at any time.

use super::ruleset::{
    ADDR4, ADDR6, ANY4, ANY6, BRIDGES, CLOSED, HOME4, HOME6, IFNAME_LEN, INTERNAL, MASQUERADE4, MASQUERADE6,
    OPEN4, OPEN6, PAIRS, ROUTED4, ROUTED6,
};
use super::transaction::Element;
use crate::link::octets;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_model::ports::Protocol;

/// What the rules must know of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeRules {
    pub(crate) internal: bool,
    /// IPv4 and IPv6.
    pub(crate) masquerade: [bool; 2],
    /// Containers are reached by their own addresses of IPv4, of IPv6.
    pub(crate) routed: [bool; 2],
    pub(crate) closed: bool,
    /// Base and prefix of its subnets.
    pub(crate) subnets: Vec<(IpAddr, u8)>,
}

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostPort {
    /// Unspecified for every address of the family.
    pub(crate) ip: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// Where a host port leads: a container's address and port.
pub(crate) type Target = (IpAddr, u16);

/// Everything that the table's elements are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bridges: BTreeMap<String, BridgeRules>,
    pub(crate) ports: BTreeMap<HostPort, Target>,
    /// Ports of containers that are reached by their own addresses.
    pub(crate) open: BTreeSet<HostPort>,
}

impl Content {
    /// All elements, grouped by set.
    pub(super) fn elements(&self) -> BTreeSet<Element> {
        let bridges = self.bridges.iter().flat_map(|(name, rules)| bridge_elements(name, rules));
        let ports = self.ports.iter().map(|(host, target)| port_element(host, *target));
        bridges.chain(ports).chain(self.open.iter().map(open_element)).collect()
    }
}

/// The set elements that describe a bridge.
pub(super) fn bridge_elements(name: &str, rules: &BridgeRules) -> Vec<Element> {
    let key = interface(name);
    let mut elements = vec![
        Element { set: BRIDGES, key: key.clone(), end: None, data: None },
        Element { set: PAIRS, key: [key.as_slice(), key.as_slice()].concat(), end: None, data: None },
    ];
    let mut add = |set| elements.push(Element { set, key: key.clone(), end: None, data: None });
    if rules.closed {
        add(CLOSED);
    }
    if rules.internal {
        add(INTERNAL);
    } else {
        let sets = [(rules.masquerade, [MASQUERADE4, MASQUERADE6]), (rules.routed, [ROUTED4, ROUTED6])];
        sets.into_iter()
            .flat_map(|(on, sets)| on.into_iter().zip(sets))
            .filter(|(on, _)| *on)
            .for_each(|(_, s)| add(s));
    }
    for (base, prefix) in &rules.subnets {
        let (set, last) = match base {
            IpAddr::V4(base) => {
                let hosts = u32::MAX.checked_shr((*prefix).into()).unwrap_or(0);
                (HOME4, IpAddr::from(Ipv4Addr::from_bits(base.to_bits() | hosts)))
            }
            IpAddr::V6(base) => {
                let hosts = u128::MAX.checked_shr((*prefix).into()).unwrap_or(0);
                (HOME6, IpAddr::from(Ipv6Addr::from_bits(base.to_bits() | hosts)))
            }
        };
        let key = |ip| [key.as_slice(), &octets(ip)].concat();
        elements.push(Element { set, key: key(*base), end: Some(key(last)), data: None });
    }
    elements
}

/// The map element that leads a host port to a container.
pub(super) fn port_element(host: &HostPort, (address, port): Target) -> Element {
    let mut key = Vec::with_capacity(24);
    let set = match (host.ip.is_unspecified(), host.ip.is_ipv4()) {
        (true, true) => ANY4,
        (true, false) => ANY6,
        (false, true) => ADDR4,
        (false, false) => ADDR6,
    };
    if !host.ip.is_unspecified() {
        key.extend(octets(host.ip));
    }
    key.extend([number(host.protocol), 0, 0, 0]);
    key.extend(service(host.port));
    let mut data = octets(address);
    data.extend(service(port));
    Element { set, key, end: None, data: Some(data) }
}

/// The set element that lets others in to a port of a container.
pub(super) fn open_element(port: &HostPort) -> Element {
    let mut key = octets(port.ip);
    key.extend([number(port.protocol), 0, 0, 0]);
    key.extend(service(port.port));
    Element { set: if port.ip.is_ipv4() { OPEN4 } else { OPEN6 }, key, end: None, data: None }
}

fn interface(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(IFNAME_LEN as usize, 0);
    key
}

/// A port in network order, padded to a register.
fn service(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// `IPPROTO_*`.
pub(crate) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
