//! `/networks`.

pub(crate) mod block;

use crate::Api;
use crate::convert::{endpoint, mac_text};
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::collections::BTreeSet;
use wharf_docker_api::types::network::{
    ConfigReference, ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, EndpointResource,
    Inspect, Ipam, IpamConfig, PruneResponse,
};
use wharf_engine::clock::rfc3339;
use wharf_engine::containers::Command;
use wharf_engine::networks::{
    NetworkRecord, NewNetwork, OPERATOR_FIELDS, OWN_CONFIGURATION, driver_name, endpoint_id,
};
use wharf_model::network::{GatewayMode, Subnet};

/// Characters of an id in texts.
const SHORT_ID: usize = 12;

fn wire(api: &Api, record: &NetworkRecord, with_containers: bool) -> Inspect {
    let config = record.spec.subnets.iter().map(|s| IpamConfig {
        subnet: format!("{}/{}", s.base, s.prefix),
        ip_range: s.range.map(|(base, prefix)| format!("{base}/{prefix}")).unwrap_or_default(),
        gateway: shown_gateway(record, s),
        auxiliary_addresses: Some(s.auxiliary.iter().map(|(n, a)| (n.clone(), a.to_string())).collect())
            .filter(|all: &std::collections::BTreeMap<_, _>| !all.is_empty()),
    });
    let containers = if with_containers { members(api, record) } else { Default::default() };
    Inspect {
        name: record.spec.name.clone(),
        id: record.spec.id.to_string(),
        created: rfc3339(record.created_ns),
        scope: scope(record).to_owned(),
        driver: driver_name(&record.spec.driver).to_owned(),
        enable_ipv4: !record.without_ipv4,
        enable_ipv6: if record.config_only {
            record.ipv6
        } else {
            record.spec.subnets.iter().any(|s| s.base.is_ipv6())
        },
        ipam: Ipam {
            driver: "default".to_owned(),
            options: record.ipam_options.clone(),
            // As Docker: networks without addresses have none, not an empty list.
            config: Some(config.collect::<Vec<_>>()).filter(|config| !config.is_empty()),
        },
        internal: record.spec.internal,
        attachable: record.attachable,
        config_from: ConfigReference { network: record.config_from.clone() },
        config_only: record.config_only,
        containers,
        options: record.options.clone(),
        labels: record.labels.clone(),
        ..Inspect::default()
    }
}

/// Docker shows a gateway that was asked for, or that came with a block it chose itself.
fn shown_gateway(record: &NetworkRecord, subnet: &Subnet) -> String {
    let mode = if subnet.base.is_ipv4() { record.spec.gateway_modes.0 } else { record.spec.gateway_modes.1 };
    if mode == GatewayMode::Isolated || record.chosen_gateways.contains(&subnet.gateway) {
        String::new()
    } else {
        subnet.gateway.to_string()
    }
}

fn members(api: &Api, network: &NetworkRecord) -> std::collections::BTreeMap<String, EndpointResource> {
    let mut members = std::collections::BTreeMap::new();
    for record in api.containers.list().iter().map(|h| h.record()) {
        if let Some((_, e)) = record.endpoints.iter().find(|(_, e)| e.network == network.spec.id) {
            let address = |a: Option<(String, u8)>| a.map(|(a, p)| format!("{a}/{p}")).unwrap_or_default();
            let resource = EndpointResource {
                name: record.name.clone(),
                endpoint_id: endpoint_id(e),
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
    let is_flag = |v: &String| matches!(v.as_str(), "1" | "true" | "0" | "false");
    if !filters.values("dangling").iter().all(is_flag) {
        return Err(ApiError::bad_request(
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        ));
    }
    if let Some(other) = filters.values("type").iter().find(|v| !matches!(v.as_str(), "builtin" | "custom")) {
        let text = format!("invalid filter: 'type'='{other}'");
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    let wanted = api.networks.list().into_iter().filter(|r| {
        filters.allows("name", |v| r.spec.name.contains(v.as_str()))
            && filters.allows("id", |v| r.spec.id.as_str().starts_with(v.as_str()))
            && filters.allows("driver", |v| driver_name(&r.spec.driver) == v)
            && filters.allows("scope", |v| v == scope(r))
            && filters.allows("type", |v| (v == "builtin") == is_predefined(&r.spec.name))
            && filters.allows("dangling", |v| matches!(v.as_str(), "1" | "true") == is_dangling(&api, r))
            && filters.labels(&r.labels)
    });
    Ok(Json(wanted.map(|r| wire(&api, &r, false)).collect::<Vec<_>>()).into_response())
}

/// Any word that was asked for is kept, as by Docker, and means nothing.
fn scope(record: &NetworkRecord) -> &str {
    if record.scope.is_empty() { "local" } else { &record.scope }
}

fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none")
}

/// Nobody is in it, and it is one that may go.
fn is_dangling(api: &Api, record: &NetworkRecord) -> bool {
    !is_predefined(&record.spec.name) && members(api, record).is_empty()
}

pub(crate) async fn inspect(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let record = api.networks.find(&id)?;
    Ok(Json(wire(&api, &record, true)).into_response())
}

/// What is wrong with the blocks of a network, all of it, as Docker says it.
fn invalid_config(faults: &[String]) -> ApiError {
    ApiError::bad_request(format!("invalid network config:\n{}", faults.join("\n")))
}

pub(crate) async fn create(State(api): State<Api>, body: Body) -> ApiResult {
    let request: CreateRequest = json(body).await?;
    check(&request)?;
    let ipam = request.ipam.unwrap_or_default();
    let mut faults = Vec::new();
    let mut subnets = Vec::new();
    let mut chosen_gateways = BTreeSet::new();
    for config in ipam.config.iter().flatten().filter(|c| !c.subnet.is_empty()) {
        match block::subnet(config) {
            Ok(subnet) => {
                chosen_gateways.extend(Some(subnet.gateway).filter(|_| config.gateway.is_empty()));
                subnets.push(subnet);
            }
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(invalid_config(&faults));
    }
    let wish = NewNetwork {
        name: request.name,
        driver: request.driver,
        subnets,
        internal: request.internal,
        isolated: false,
        labels: request.labels.unwrap_or_default().0,
        options: request.options.unwrap_or_default().0,
        ipv6: request.enable_ipv6.unwrap_or(false),
        attachable: request.attachable,
        without_ipv4: request.enable_ipv4 == Some(false),
        chosen_gateways,
        config_only: request.config_only,
        config_from: request.config_from.unwrap_or_default().network,
        scope: request.scope,
        ipam_options: ipam.options,
    };
    let networks = api.networks.clone();
    let made = tokio::task::spawn_blocking(move || networks.create(wish)).await;
    let record =
        made.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    let response = CreateResponse { id: record.spec.id.to_string(), warning: String::new() };
    Ok((StatusCode::CREATED, Json(response)).into_response())
}

/// Refuses what this engine has not.
fn check(request: &CreateRequest) -> ApiResult<()> {
    let refused = |status, text: &str| Err(ApiError::new(status, text));
    if request.config_only && (request.ingress || !request.scope.is_empty()) {
        return refused(StatusCode::FORBIDDEN, OPERATOR_FIELDS);
    }
    if request.ingress {
        return refused(StatusCode::FORBIDDEN, "Ingress network can only be global scope network");
    }
    if request.scope == "swarm" {
        return refused(
            StatusCode::FORBIDDEN,
            "cannot create a swarm scoped network when swarm is not active",
        );
    }
    match request.ipam.as_ref().map_or("", |ipam| ipam.driver.as_str()) {
        "" | "default" => Ok(()),
        _ if request.config_from.as_ref().is_some_and(|from| !from.network.is_empty()) => {
            refused(StatusCode::FORBIDDEN, OWN_CONFIGURATION)
        }
        other => refused(StatusCode::NOT_FOUND, &format!("plugin {other:?} not found")),
    }
}

pub(crate) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    let record = api.networks.find(&id)?;
    let networks = api.networks.clone();
    let removed = tokio::task::spawn_blocking(move || networks.remove(&id)).await;
    let removed = removed
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))?;
    removed.map_err(|e| in_use(&api, &record, e))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who keeps a network from being removed, in Docker's words.
fn in_use(api: &Api, network: &NetworkRecord, error: wharf_model::Error) -> ApiError {
    let members = members(api, network);
    if members.is_empty() || is_predefined(&network.spec.name) {
        return error.into();
    }
    let short = |id: &str| id.chars().take(SHORT_ID).collect::<String>();
    let shown: Vec<String> =
        members.values().map(|m| format!("name:{:?} id:{:?}", m.name, short(&m.endpoint_id))).collect();
    let text = format!(
        "error while removing network: network {} has active endpoints ({})",
        network.spec.name,
        shown.join(", ")
    );
    ApiError::new(StatusCode::FORBIDDEN, text)
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
        let wanted = !is_predefined(name)
            // Nobody is ever in one.
            && !record.config_only
            && filters.labels(&record.labels)
            && until.is_none_or(|t| record.created_ns < t);
        if wanted && api.networks.remove(record.spec.id.as_str()).is_ok() {
            deleted.push(name.clone());
        }
    }
    crate::events::pruned(&api, "network", 0);
    Ok(Json(PruneResponse { networks_deleted: Some(deleted).filter(|list| !list.is_empty()) })
        .into_response())
}
