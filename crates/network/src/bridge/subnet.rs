//! Choosing a subnet that nothing on the host uses.

use super::{BridgeNetwork, kernel, lock};
use crate::ipam::overlap;
use crate::link;
use std::net::{IpAddr, Ipv4Addr};
use wharf_model::error::{Error, Result};
use wharf_model::network::Subnet;

impl BridgeNetwork {
    pub(super) fn choose_subnet(&self) -> Result<Subnet> {
        let mut used: Vec<(IpAddr, u8)> = Vec::new();
        {
            let state = lock(&self.state);
            used.extend(state.networks.values().flat_map(|n| &n.spec.subnets).map(|s| (s.base, s.prefix)));
            let mut route = lock(&self.route);
            let failed = |errno| kernel("list the host's addresses and routes", errno);
            used.extend(link::addresses(&mut route).map_err(failed)?.into_iter().map(|(_, ip, p)| (ip, p)));
            used.extend(link::routes(&mut route).map_err(failed)?);
        }
        choose(&used).ok_or_else(|| {
            Error::conflict(
                "all predefined address pools have been fully subnetted: remove unused networks, \
                 or give this one a --subnet",
            )
        })
    }
}

fn choose(used: &[(IpAddr, u8)]) -> Option<Subnet> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=15).map(|block| (Ipv4Addr::new(192, 168, block * 16, 0), 20));
    large.chain(small).find_map(|(base, prefix)| {
        let block = (IpAddr::from(base), prefix);
        if used.iter().any(|other| overlap(block, *other)) {
            return None;
        }
        let gateway = Ipv4Addr::from_bits(base.to_bits() + 1).into();
        Some(Subnet { base: base.into(), prefix, gateway, range: None, auxiliary: Default::default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_use_are_passed_over() {
        let block = |text: &str, prefix| (text.parse::<IpAddr>().unwrap(), prefix);
        let subnet = choose(&[]).unwrap();
        assert_eq!((subnet.base.to_string(), subnet.prefix), ("172.17.0.0".into(), 16));
        assert_eq!(subnet.gateway.to_string(), "172.17.0.1");
        let used = [block("172.17.0.5", 24), block("172.18.0.0", 15), block("fe80::1", 64)];
        assert_eq!(choose(&used).unwrap().base.to_string(), "172.20.0.0");
        assert_eq!(choose(&[block("172.16.0.0", 12)]).unwrap().base.to_string(), "192.168.0.0");
        assert_eq!(choose(&[block("172.16.0.0", 12), block("192.168.0.0", 16)]), None);
    }
}
