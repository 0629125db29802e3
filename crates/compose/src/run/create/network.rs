//! A service's container in its networks.

use super::Plan;
use crate::project::Loaded;
use wharf_docker_api::types::container::NetworkingConfig;
use wharf_docker_api::types::network::{EndpointIpam, EndpointSettings};

/// Links to containers of other services, each by all its names.
pub(super) fn links(loaded: &Loaded, plan: &Plan<'_>) -> Vec<String> {
    let mut links = Vec::new();
    for link in &plan.service.links {
        let (service, alias) = link.split_once(':').unwrap_or((link, link));
        for (_, container) in plan.linked.iter().filter(|(of, _)| of == service) {
            let short = container.name.strip_prefix(&loaded.prefix()).unwrap_or(&container.name);
            links.extend([alias, short, &container.name].map(|name| format!("{}:{name}", container.name)));
        }
    }
    for link in &plan.service.external_links {
        links.push(if link.contains(':') { link.clone() } else { format!("{link}:{link}") });
    }
    links
}

/// The mode of `HostConfig`, and all endpoints.
pub(super) fn networking(loaded: &Loaded, plan: &Plan<'_>, links: &[String]) -> (String, NetworkingConfig) {
    let service = plan.service;
    if !service.network_mode.is_empty() {
        let mode = service.network_mode.clone();
        return (mode, NetworkingConfig::default());
    }
    let order = service.networks_by_priority();
    let Some(first) = order.first() else { return ("none".into(), NetworkingConfig::default()) };
    let name = |key: &str| {
        loaded.project.networks.get(key).map_or_else(|| key.to_owned(), |network| network.name.clone())
    };
    let endpoints = order.iter().map(|key| {
        let mut settings = endpoint(loaded, plan, key, links);
        if key == first && settings.mac_address.is_empty() {
            settings.mac_address = service.mac_address.clone();
        }
        (name(key), Some(settings))
    });
    (name(first), NetworkingConfig { endpoints_config: Some(endpoints.collect()) })
}

fn endpoint(loaded: &Loaded, plan: &Plan<'_>, key: &str, links: &[String]) -> EndpointSettings {
    let config = plan.service.networks.get(key).cloned().flatten();
    let own = match &plan.one_off {
        Some(_) => plan.container.clone(),
        None => loaded.container_name(plan.name, plan.service, plan.number),
    };
    let mut aliases = vec![own];
    if plan.one_off.as_ref().is_none_or(|one_off| one_off.aliases) {
        aliases.push(plan.name.to_owned());
        aliases.extend(config.iter().flat_map(|config| config.aliases.clone()));
    }
    let mut settings = EndpointSettings {
        links: (!links.is_empty()).then(|| links.to_vec()),
        aliases: Some(aliases),
        ..EndpointSettings::default()
    };
    if let Some(config) = config {
        settings.ip_address = config.ipv4_address.clone();
        settings.ipam_config = Some(EndpointIpam {
            ipv4_address: config.ipv4_address,
            ipv6_address: config.ipv6_address,
            link_local_ips: (!config.link_local_ips.is_empty()).then_some(config.link_local_ips),
        });
        settings.mac_address = config.mac_address;
        settings.gw_priority = config.gw_priority;
        let mut options = config.driver_opts;
        if !config.interface_name.is_empty() {
            options.insert("com.docker.network.endpoint.ifname".into(), config.interface_name);
        }
        settings.driver_opts = (!options.is_empty()).then_some(options);
    }
    settings
}
