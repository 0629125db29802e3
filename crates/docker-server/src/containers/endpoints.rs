//! The networks of a container, as clients see them.

use crate::Api;
use crate::convert::mac_text;
use std::collections::{BTreeMap, BTreeSet};
use wharf_docker_api::types::network::{EndpointIpam, EndpointSettings};
use wharf_engine::networks::endpoint_id;
use wharf_model::container::{ContainerRecord, NetworkMode};
use wharf_model::network::Endpoint;

/// The ids of networks by name, each looked up once for a request: a list has a line for each container.
pub(crate) struct NetworkIds<'a> {
    look_up: Box<dyn Fn(&str) -> String + Send + Sync + 'a>,
    found: BTreeMap<String, String>,
}

impl<'a> NetworkIds<'a> {
    pub(crate) fn of(api: &'a Api) -> Self {
        Self::by(|name| api.networks.find(name).map(|n| n.spec.id.to_string()).unwrap_or_default())
    }

    fn by(look_up: impl Fn(&str) -> String + Send + Sync + 'a) -> Self {
        Self { look_up: Box::new(look_up), found: BTreeMap::new() }
    }

    fn get(&mut self, name: &str) -> String {
        if let Some(id) = self.found.get(name) {
            return id.clone();
        }
        let id = (self.look_up)(name);
        self.found.insert(name.to_owned(), id.clone());
        id
    }
}

/// The names of the networks that a container is in, or will be when it starts.
pub(super) fn names(record: &ContainerRecord) -> BTreeSet<String> {
    match &record.spec.network {
        NetworkMode::Host => BTreeSet::from(["host".to_owned()]),
        NetworkMode::None if !record.spec.left.contains("none") => BTreeSet::from(["none".to_owned()]),
        _ if record.endpoints.is_empty() => record.spec.network_names(),
        _ => record.endpoints.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// The networks of a container, with what it has there while it runs.
pub(super) fn networks(
    record: &ContainerRecord,
    ids: &mut NetworkIds<'_>,
) -> BTreeMap<String, EndpointSettings> {
    let of = |name: String| {
        let found = record.endpoints.iter().find(|(of, _)| *of == name);
        let mut settings = match (name.as_str(), found) {
            ("host" | "none", _) => without_interface(record, &name),
            (_, Some((_, e))) => endpoint(record, &name, e),
            (_, None) => wished(record, &name),
        };
        // Docker names a network from the first start on.
        if settings.network_id.is_empty() && record.started_ns > 0 {
            settings.network_id = ids.get(&name);
        }
        (name, settings)
    };
    names(record).into_iter().map(of).collect()
}

fn endpoint(record: &ContainerRecord, name: &str, e: &Endpoint) -> EndpointSettings {
    EndpointSettings {
        mac_address: if e.mac == [0; 6] { String::new() } else { mac_text(e.mac) },
        network_id: e.network.to_string(),
        endpoint_id: endpoint_id(e),
        gateway: e.gateway4.filter(|g| !g.is_unspecified()).map(|g| g.to_string()).unwrap_or_default(),
        ip_address: e.ipv4.map(|(a, _)| a.to_string()).unwrap_or_default(),
        ip_prefix_len: e.ipv4.map_or(0, |(_, p)| p.into()),
        ipv6_gateway: e.gateway6.filter(|g| !g.is_unspecified()).map(|g| g.to_string()).unwrap_or_default(),
        global_ipv6_address: e.ipv6.map(|(a, _)| a.to_string()).unwrap_or_default(),
        global_ipv6_prefix_len: e.ipv6.map_or(0, |(_, p)| p.into()),
        dns_names: Some(e.names.clone()),
        ..wished(record, name)
    }
}

/// What was asked of a network.
fn wished(record: &ContainerRecord, name: &str) -> EndpointSettings {
    let Some(wish) = record.spec.endpoints.get(name) else { return EndpointSettings::default() };
    let text = |address: Option<String>| address.unwrap_or_default();
    let has_address = wish.ipv4.is_some() || wish.ipv6.is_some() || !wish.link_local.is_empty();
    let list = |items: Vec<String>| Some(items).filter(|items| !items.is_empty());
    EndpointSettings {
        aliases: Some(wish.aliases.clone()).filter(|a| !a.is_empty()),
        ipam_config: has_address.then(|| EndpointIpam {
            ipv4_address: text(wish.ipv4.map(|a| a.to_string())),
            ipv6_address: text(wish.ipv6.map(|a| a.to_string())),
            link_local_ips: list(wish.link_local.iter().map(ToString::to_string).collect()),
        }),
        links: list(wish.links.iter().map(|l| format!("{}:{}", l.container, l.alias)).collect()),
        driver_opts: Some(wish.driver_options.clone()).filter(|options| !options.is_empty()),
        mac_address: wish.mac.map(mac_text).unwrap_or_default(),
        gw_priority: wish.gw_priority,
        ..EndpointSettings::default()
    }
}

/// In the networks `host` and `none` there is nothing but an id.
fn without_interface(record: &ContainerRecord, name: &str) -> EndpointSettings {
    let id = wharf_oci::digest::Digest::sha256(format!("{} {name}", record.id).as_bytes());
    let endpoint_id = if record.status.is_running() { id.hex().to_owned() } else { String::new() };
    EndpointSettings { endpoint_id, ..EndpointSettings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use wharf_model::ContainerId;
    use wharf_model::container::ContainerSpec;
    use wharf_oci::digest::Digest;

    #[test]
    fn a_network_is_looked_up_once_for_all_lines() {
        let asked = AtomicUsize::new(0);
        let mut ids = NetworkIds::by(|name| {
            asked.fetch_add(1, Ordering::Relaxed);
            format!("id of {name}")
        });
        for mode in [NetworkMode::Host, NetworkMode::None, NetworkMode::Host, NetworkMode::Bridge] {
            let spec = ContainerSpec { network: mode, ..ContainerSpec::default() };
            let id = ContainerId::from_bytes([1; 32]);
            let image = Digest::sha256(b"");
            let mut record = ContainerRecord::new(id, "c1".into(), 1, spec, image, Default::default());
            record.started_ns = 1;
            for (name, settings) in networks(&record, &mut ids) {
                assert_eq!(settings.network_id, format!("id of {name}"));
            }
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
