//! `/networks`.

use crate::Api;
use crate::convert::{endpoint, mac_text};
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::net::IpAddr;
use wharf_docker_api::types::network::{
    ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, EndpointResource, Inspect, Ipam,
    IpamConfig, PruneResponse,
};
use wharf_engine::clock::rfc3339;
use wharf_engine::containers::Command;
use wharf_engine::networks::{NetworkRecord, NewNetwork, driver_name};
use wharf_model::network::Subnet;

fn wire(api: &Api, record: &NetworkRecord, with_containers: bool) -> Inspect {
    let config = record.spec.subnets.iter().map(|s| IpamConfig {
        subnet: format!("{}/{}", s.base, s.prefix),
        ip_range: s.range.map(|(base, prefix)| format!("{base}/{prefix}")).unwrap_or_default(),
        gateway: s.gateway.to_string(),
        auxiliary_addresses: Some(s.auxiliary.iter().map(|(n, a)| (n.clone(), a.to_string())).collect())
            .filter(|all: &std::collections::BTreeMap<_, _>| !all.is_empty()),
    });
    let containers = if with_containers { members(api, record) } else { Default::default() };
    Inspect {
        name: record.spec.name.clone(),
        id: record.spec.id.to_string(),
        created: rfc3339(record.created_ns),
        scope: "local".to_owned(),
        driver: driver_name(&record.spec.driver).to_owned(),
        enable_ipv4: true,
        enable_ipv6: record.spec.subnets.iter().any(|s| s.base.is_ipv6()),
        ipam: Ipam { driver: "default".to_owned(), options: None, config: Some(config.collect()) },
        internal: record.spec.internal,
        attachable: record.attachable,
        containers,
        options: record.options.clone(),
        labels: record.labels.clone(),
        ..Inspect::default()
    }
}

fn members(api: &Api, network: &NetworkRecord) -> std::collections::BTreeMap<String, EndpointResource> {
    let mut members = std::collections::BTreeMap::new();
    for record in api.containers.list().iter().map(|h| h.record()) {
        if let Some((_, e)) = record.endpoints.iter().find(|(_, e)| e.network == network.spec.id) {
            let address = |a: Option<(String, u8)>| a.map(|(a, p)| format!("{a}/{p}")).unwrap_or_default();
            let resource = EndpointResource {
                name: record.name.clone(),
                endpoint_id: crate::convert::endpoint_id(e),
                mac_address: mac_text(e.mac),
                ipv4_address: address(e.ipv4.map(|(a, p)| (a.to_string(), p))),
                ipv6_address: address(e.ipv6.map(|(a, p)| (a.to_string(), p))),
            };
            members.insert(record.id.to_string(), resource);
        }
    }
    members
}

pub(crate) async fn list(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let predefined = |name: &str| matches!(name, "bridge" | "host" | "none");
    let wanted = api.networks.list().into_iter().filter(|r| {
        filters.allows("name", |v| r.spec.name.contains(v.as_str()))
            && filters.allows("id", |v| r.spec.id.as_str().starts_with(v.as_str()))
            && filters.allows("driver", |v| driver_name(&r.spec.driver) == v)
            && filters.allows("scope", |v| v == "local")
            && filters.allows("type", |v| (v == "builtin") == predefined(&r.spec.name))
            && filters
                .allows("dangling", |v| matches!(v.as_str(), "1" | "true") == members(&api, r).is_empty())
            && filters.labels(&r.labels)
    });
    Ok(Json(wanted.map(|r| wire(&api, &r, false)).collect::<Vec<_>>()).into_response())
}

pub(crate) async fn inspect(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let record = api.networks.find(&id)?;
    Ok(Json(wire(&api, &record, true)).into_response())
}

/// `10.0.0.0/24` as its base address and length.
pub(crate) fn parse_block(text: &str) -> ApiResult<(IpAddr, u8)> {
    let invalid = || {
        ApiError::bad_request(format!(
            "invalid subnet {text:?}: an address and a length are expected, such as 10.1.0.0/24"
        ))
    };
    let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
    if prefix > if address.is_ipv4() { 32 } else { 128 } {
        return Err(invalid());
    }
    Ok((masked(address, prefix), prefix))
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            IpAddr::V4((u32::from(a) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into())
        }
        IpAddr::V6(a) => {
            IpAddr::V6((u128::from(a) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

/// A block with its gateway: as given, or the first address.
pub(crate) fn subnet(config: &IpamConfig) -> ApiResult<Subnet> {
    let (base, prefix) = parse_block(&config.subnet)?;
    let gateway = match config.gateway.split('/').next().unwrap_or_default() {
        "" => match base {
            IpAddr::V4(a) => IpAddr::V4((u32::from(a) | 1).into()),
            IpAddr::V6(a) => IpAddr::V6((u128::from(a) | 1).into()),
        },
        text => text.parse().map_err(|_| ApiError::bad_request(format!("invalid gateway {text:?}")))?,
    };
    let range = if config.ip_range.is_empty() { None } else { Some(parse_block(&config.ip_range)?) };
    let mut auxiliary = std::collections::BTreeMap::new();
    for (name, text) in config.auxiliary_addresses.iter().flatten() {
        let address = text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "invalid auxiliary address {text:?} of {name:?}: an IP address is expected"
            ))
        })?;
        auxiliary.insert(name.clone(), address);
    }
    Ok(Subnet { base, prefix, gateway, range, auxiliary })
}

pub(crate) async fn create(State(api): State<Api>, body: Body) -> ApiResult {
    let request: CreateRequest = json(body).await?;
    let blocks = request.ipam.and_then(|i| i.config).unwrap_or_default();
    let subnets =
        blocks.iter().filter(|c| !c.subnet.is_empty()).map(subnet).collect::<ApiResult<Vec<_>>>()?;
    let wish = NewNetwork {
        name: request.name,
        driver: request.driver,
        subnets,
        internal: request.internal,
        isolated: false,
        labels: request.labels.unwrap_or_default(),
        options: request.options.unwrap_or_default(),
        ipv6: request.enable_ipv6.unwrap_or(false),
        attachable: request.attachable,
    };
    let networks = api.networks.clone();
    let made = tokio::task::spawn_blocking(move || networks.create(wish)).await;
    let record =
        made.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    let response = CreateResponse { id: record.spec.id.to_string(), warning: String::new() };
    Ok((StatusCode::CREATED, Json(response)).into_response())
}

pub(crate) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let networks = api.networks.clone();
    let removed = tokio::task::spawn_blocking(move || networks.remove(&id)).await;
    removed
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn connect(State(api): State<Api>, Path(id): Path<String>, body: Body) -> ApiResult {
    let request: ConnectRequest = json(body).await?;
    let network = api.networks.find(&id)?.spec.id.to_string();
    let wish = endpoint(request.endpoint_config.unwrap_or_default())?;
    let container = api.containers.find(&request.container)?;
    container.ask(|reply| Command::Connect(network, Box::new(wish), reply)).await?;
    Ok(StatusCode::OK.into_response())
}

pub(crate) async fn disconnect(State(api): State<Api>, Path(id): Path<String>, body: Body) -> ApiResult {
    let request: DisconnectRequest = json(body).await?;
    let container = api.containers.find(&request.container)?;
    container.ask(|reply| Command::Disconnect(id, request.force, reply)).await?;
    Ok(StatusCode::OK.into_response())
}

pub(crate) async fn prune(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["label", "label!", "until"])?;
    let until = filters.until()?;
    let mut deleted = Vec::new();
    for record in api.networks.list() {
        let name = &record.spec.name;
        let wanted = !matches!(name.as_str(), "bridge" | "host" | "none")
            && filters.labels(&record.labels)
            && until.is_none_or(|t| record.created_ns < t);
        if wanted && api.networks.remove(record.spec.id.as_str()).is_ok() {
            deleted.push(name.clone());
        }
    }
    Ok(Json(PruneResponse { networks_deleted: Some(deleted).filter(|list| !list.is_empty()) })
        .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_a_gateway() {
        let config = IpamConfig { subnet: "10.9.8.7/24".into(), ..IpamConfig::default() };
        let s = subnet(&config).unwrap();
        assert_eq!((s.base.to_string(), s.gateway.to_string()), ("10.9.8.0".into(), "10.9.8.1".into()));
        assert!(parse_block("10.0.0.0/33").is_err());
        assert!(parse_block("nonsense").is_err());
    }
}
