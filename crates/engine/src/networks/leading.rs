//! Which of a container's networks lead out of it.

use std::cmp::Reverse;
use wharf_model::network::Endpoint;

/// The networks with the default routes, by Docker's rule: the first one with gateways of both families, else the first
/// one of each family, in the order of their priorities and names. The first of these has the published ports.
pub(super) fn names(places: &[(String, Endpoint)], priority: impl Fn(&str) -> i64) -> Vec<String> {
    let mut places: Vec<&(String, Endpoint)> = places.iter().collect();
    places.sort_by_key(|(name, _)| (Reverse(priority(name)), name));
    let first = |is_meant: &dyn Fn(&Endpoint) -> bool| places.iter().find(|(_, place)| is_meant(place));
    let found = match first(&|e| e.gateway4.is_some() && e.gateway6.is_some()) {
        Some(both) => [Some(both), None],
        None => [first(&|e| e.gateway4.is_some()), first(&|e| e.gateway6.is_some())],
    };
    found.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_model::ids::{ContainerId, NetworkId};

    fn place(name: &str, families: &str) -> (String, Endpoint) {
        let endpoint = Endpoint {
            network: NetworkId::from_bytes([1; 32]),
            container: ContainerId::from_bytes([1; 32]),
            interface: String::new(),
            host_interface: String::new(),
            ipv4: None,
            ipv6: None,
            mac: [0; 6],
            gateway4: families.contains('4').then_some([10, 0, 0, 1].into()),
            gateway6: families.contains('6').then_some([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()),
            names: Vec::new(),
            default_route: false,
            extras: Default::default(),
        };
        (name.to_owned(), endpoint)
    }

    #[test]
    fn the_rule_is_dockers() {
        let of = |places: &[(&str, &str)]| {
            let places: Vec<_> = places.iter().map(|(name, families)| place(name, families)).collect();
            names(&places, |name| i64::from(name.starts_with("preferred")))
        };
        assert_eq!(of(&[("zoo", "4"), ("ant", "4")]), ["ant"]);
        assert_eq!(of(&[("preferred", "4"), ("ant", "4")]), ["preferred"]);
        assert_eq!(of(&[("ant", "4"), ("zoo", "46")]), ["zoo"], "or there would be no way out for IPv6");
        assert_eq!(of(&[("preferred", "4"), ("zoo", "46")]), ["zoo"]);
        assert_eq!(of(&[("six", "6"), ("zoo", "4")]), ["zoo", "six"]);
        assert_eq!(of(&[("internal", ""), ("zoo", "4")]), ["zoo"]);
        assert!(of(&[("internal", "")]).is_empty());
    }
}
