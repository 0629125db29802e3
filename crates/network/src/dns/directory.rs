//! Who is called what in which network.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wharf_model::ids::{ContainerId, NetworkId};
use wharf_model::network::{Endpoint, NetworkSpec};

/// Names and addresses of all endpoints of an engine.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    zones: HashMap<NetworkId, Zone>,
    /// Which container asks, by its source address.
    askers: HashMap<IpAddr, ContainerId>,
}

#[derive(Debug, Default)]
struct Zone {
    /// The network's name; `web.backend` is `web` in network `backend`.
    name: String,
    internal: bool,
    members: HashMap<ContainerId, Member>,
    by_name: HashMap<String, Vec<ContainerId>>,
}

#[derive(Debug)]
struct Member {
    names: Vec<String>,
    /// Names that only it uses, and whose they are.
    links: BTreeMap<String, String>,
    /// Who is asked for other names; the host's name servers where there are none.
    dns: Vec<IpAddr>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

/// The addresses of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) ipv4: Vec<Ipv4Addr>,
    pub(crate) ipv6: Vec<Ipv6Addr>,
}

impl Directory {
    /// Makes a network known; its members stay.
    pub(crate) fn set_network(&mut self, spec: &NetworkSpec) {
        let zone = self.zones.entry(spec.id.clone()).or_default();
        zone.name = spec.name.to_lowercase();
        zone.internal = spec.internal;
    }

    /// Forgets a network and its members.
    pub(crate) fn remove_network(&mut self, network: &NetworkId) {
        if let Some(zone) = self.zones.remove(network) {
            for member in zone.members.values() {
                self.forget_addresses(member.ipv4, member.ipv6);
            }
        }
    }

    /// Adds an endpoint, in place of the container's earlier one in the same network.
    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        self.remove(&endpoint.network, &endpoint.container);
        let names: Vec<String> = endpoint.names.iter().map(|name| name.to_lowercase()).collect();
        let member = Member {
            names: names.clone(),
            links: endpoint.extras.links.clone(),
            dns: endpoint.extras.dns.clone(),
            ipv4: endpoint.ipv4.map(|(address, _)| address),
            ipv6: endpoint.ipv6.map(|(address, _)| address),
        };
        for address in member.addresses() {
            self.askers.insert(address, endpoint.container.clone());
        }
        let zone = self.zones.entry(endpoint.network.clone()).or_default();
        for name in names {
            let holders = zone.by_name.entry(name).or_default();
            if !holders.contains(&endpoint.container) {
                holders.push(endpoint.container.clone());
            }
        }
        zone.members.insert(endpoint.container.clone(), member);
    }

    /// Removes an endpoint; nothing happens when there is none.
    pub(crate) fn remove(&mut self, network: &NetworkId, container: &ContainerId) {
        let Some(zone) = self.zones.get_mut(network) else { return };
        let Some(member) = zone.members.remove(container) else { return };
        for name in &member.names {
            if let Some(holders) = zone.by_name.get_mut(name) {
                holders.retain(|holder| holder != container);
                if holders.is_empty() {
                    zone.by_name.remove(name);
                }
            }
        }
        self.forget_addresses(member.ipv4, member.ipv6);
    }

    /// The addresses of a name as `asker` sees it: in all networks of that container, or in the network
    /// that was asked when no container has the address. `None` when the name is nobody's.
    pub(crate) fn lookup(&self, network: &NetworkId, asker: IpAddr, name: &str) -> Option<Addresses> {
        let name = name.to_lowercase();
        let mut found: Option<Addresses> = None;
        for zone in self.zones_of(network, asker) {
            let bare = name.strip_suffix(&zone.name).and_then(|rest| rest.strip_suffix('.'));
            let own = self.askers.get(&asker).and_then(|container| zone.members.get(container));
            let linked = own.and_then(|member| member.links.get(&name)).map(String::as_str);
            let holders =
                [linked, Some(name.as_str()), bare].into_iter().flatten().find_map(|n| zone.by_name.get(n));
            for member in holders.into_iter().flatten().filter_map(|holder| zone.members.get(holder)) {
                let addresses = found.get_or_insert_default();
                addresses.ipv4.extend(member.ipv4);
                addresses.ipv6.extend(member.ipv6);
            }
        }
        found
    }

    /// The name of an address in the asker's networks: `container.network`.
    pub(crate) fn reverse(&self, network: &NetworkId, asker: IpAddr, address: IpAddr) -> Option<String> {
        let holder = self.askers.get(&address)?;
        self.zones_of(network, asker).find_map(|zone| {
            let member = zone.members.get(holder)?;
            if !member.addresses().any(|own| own == address) {
                return None;
            }
            Some(format!("{}.{}", member.names.first()?, zone.name))
        })
    }

    /// Who answers the asker's other questions: name servers of its own, or the host's where the list is empty. `None`
    /// when nobody may: it has no network with a way out, and no name server within its networks.
    pub(crate) fn others(&self, network: &NetworkId, asker: IpAddr) -> Option<Vec<IpAddr>> {
        let holder = self.askers.get(&asker);
        let member =
            holder.and_then(|id| self.zones_of(network, asker).find_map(|zone| zone.members.get(id)));
        let own = member.map(|member| member.dns.clone()).unwrap_or_default();
        if self.zones_of(network, asker).any(|zone| !zone.internal) {
            return Some(own);
        }
        let is_near = |ip: &IpAddr| {
            let holder = self.askers.get(ip);
            holder.is_some_and(|id| self.zones_of(network, asker).any(|zone| zone.members.contains_key(id)))
        };
        let near: Vec<IpAddr> = own.into_iter().filter(is_near).collect();
        (!near.is_empty()).then_some(near)
    }

    fn zones_of(&self, network: &NetworkId, asker: IpAddr) -> impl Iterator<Item = &Zone> {
        let container = self.askers.get(&asker);
        // The network that was asked comes first: its names win.
        let asked = self.zones.get(network);
        let others = self.zones.iter().filter(move |(id, zone)| {
            *id != network && container.is_some_and(|container| zone.members.contains_key(container))
        });
        asked.into_iter().chain(others.map(|(_, zone)| zone))
    }

    fn forget_addresses(&mut self, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) {
        for address in ipv4.map(IpAddr::from).into_iter().chain(ipv6.map(IpAddr::from)) {
            self.askers.remove(&address);
        }
    }
}

impl Member {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use wharf_model::network::Driver;

    pub(crate) fn network(byte: u8, name: &str, internal: bool) -> NetworkSpec {
        NetworkSpec {
            id: NetworkId::from_bytes([byte; 32]),
            name: name.into(),
            driver: Driver::Bridge,
            bridge: format!("br{byte}"),
            parent: String::new(),
            subnets: vec![],
            internal,
            icc: true,
            masquerade: true,
            mtu: 0,
            gateway_modes: Default::default(),
            binding: None,
        }
    }

    pub(crate) fn endpoint(network: u8, container: u8, names: &[&str]) -> Endpoint {
        Endpoint {
            network: NetworkId::from_bytes([network; 32]),
            container: ContainerId::from_bytes([container; 32]),
            interface: "eth0".into(),
            host_interface: "veth".into(),
            ipv4: Some((Ipv4Addr::new(10, 0, network, container), 24)),
            ipv6: None,
            mac: [0; 6],
            gateway4: None,
            gateway6: None,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            default_route: true,
            extras: Default::default(),
        }
    }

    #[test]
    fn names_are_seen_in_the_askers_networks_only() {
        let mut directory = Directory::default();
        directory.set_network(&network(1, "front", false));
        directory.set_network(&network(2, "back", true));
        directory.add(&endpoint(1, 1, &["web"]));
        directory.add(&endpoint(1, 2, &["Proxy"]));
        directory.add(&endpoint(2, 2, &["proxy"]));
        directory.add(&endpoint(2, 3, &["db", "store"]));
        directory.add(&endpoint(2, 4, &["db2", "store"]));
        let (front, back) = (NetworkId::from_bytes([1; 32]), NetworkId::from_bytes([2; 32]));
        let ask = |network, last, name: &str| {
            let subnet = if network == &front { 1 } else { 2 };
            directory
                .lookup(network, IpAddr::from([10, 0, subnet, last]), name)
                .map(|a| a.ipv4.iter().map(|ip| ip.octets()[3]).collect::<Vec<_>>())
        };
        assert_eq!(ask(&front, 1, "PROXY"), Some(vec![2]));
        assert_eq!(ask(&front, 1, "proxy.front"), Some(vec![2]));
        assert_eq!(ask(&front, 1, "db"), None);
        assert_eq!(ask(&front, 2, "db"), Some(vec![3]), "the proxy is in both");
        assert_eq!(ask(&back, 3, "store"), Some(vec![3, 4]));
        assert_eq!(ask(&back, 3, "web"), None);
        assert_eq!(directory.others(&front, IpAddr::from([10, 0, 1, 2])), Some(vec![]), "the host's");
        assert_eq!(directory.others(&back, IpAddr::from([10, 0, 2, 3])), None);
        let through_front = directory.others(&back, IpAddr::from([10, 0, 2, 2]));
        assert_eq!(through_front, Some(vec![]), "through its other network");
        let mut linking = endpoint(1, 5, &["app"]);
        linking.extras.links.insert("frontend".into(), "web".into());
        directory.add(&linking);
        let ask = |last| directory.lookup(&front, IpAddr::from([10, 0, 1, last]), "Frontend");
        assert_eq!(ask(5).map(|a| a.ipv4), Some(vec![Ipv4Addr::new(10, 0, 1, 1)]));
        assert_eq!(ask(2), None, "a link is its owner's alone");
        let reverse = directory.reverse(&back, IpAddr::from([10, 0, 2, 4]), IpAddr::from([10, 0, 2, 3]));
        assert_eq!(reverse.as_deref(), Some("db.back"));
    }

    #[test]
    fn servers_of_its_own_are_asked() {
        let mut directory = Directory::default();
        directory.set_network(&network(1, "front", false));
        directory.set_network(&network(2, "back", true));
        let (far, near) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 0, 2, 9]));
        for zone in [1, 2] {
            let mut choosy = endpoint(zone, zone, &["choosy"]);
            choosy.extras.dns = vec![far, near];
            directory.add(&choosy);
        }
        let (front, back) = (NetworkId::from_bytes([1; 32]), NetworkId::from_bytes([2; 32]));
        assert_eq!(directory.others(&front, IpAddr::from([10, 0, 1, 1])), Some(vec![far, near]));
        let inner = IpAddr::from([10, 0, 2, 2]);
        assert_eq!(directory.others(&back, inner), None, "nothing leaves an internal network");
        directory.add(&endpoint(2, 9, &["server"]));
        assert_eq!(directory.others(&back, inner), Some(vec![near]), "but a server in it may be asked");
    }

    #[test]
    fn removed_members_are_forgotten() {
        let mut directory = Directory::default();
        directory.set_network(&network(1, "front", false));
        directory.add(&endpoint(1, 1, &["web"]));
        let (id, asker) = (NetworkId::from_bytes([1; 32]), IpAddr::from([10, 0, 1, 9]));
        assert!(directory.lookup(&id, asker, "web").is_some());
        directory.remove(&id, &ContainerId::from_bytes([1; 32]));
        assert!(directory.lookup(&id, asker, "web").is_none());
        assert!(directory.askers.is_empty() && directory.zones[&id].by_name.is_empty());
        directory.add(&endpoint(1, 1, &["web"]));
        directory.remove_network(&id);
        assert!(directory.askers.is_empty() && directory.zones.is_empty());
    }
}
