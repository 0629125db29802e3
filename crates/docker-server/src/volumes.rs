//! `/volumes`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::{JsonBody, Params};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::sync::Arc;
use wharf_docker_api::types::volume::{CreateRequest, ListResponse, PruneResponse, Volume};
use wharf_engine::clock::rfc3339;
use wharf_engine::volumes::VolumeRecord;
use wharf_model::container::ContainerRecord;

pub(crate) fn wire(api: &Api, record: &VolumeRecord) -> ApiResult<Volume> {
    let options = (!record.options.is_empty()).then(|| record.options.clone());
    let mut labels = record.labels.clone();
    if record.anonymous {
        labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    }
    Ok(Volume {
        created_at: rfc3339(record.created_ns / 1_000_000_000 * 1_000_000_000),
        driver: "local".to_owned(),
        labels: (!labels.is_empty()).then_some(labels),
        mountpoint: api.volumes.path(&record.name)?.display().to_string(),
        name: record.name.clone(),
        options,
        scope: "local".to_owned(),
        usage_data: None,
    })
}

pub(crate) fn users(api: &Api) -> Vec<Arc<ContainerRecord>> {
    api.containers.list().iter().map(|h| h.record()).collect()
}

fn is_used(users: &[Arc<ContainerRecord>], name: &str) -> bool {
    users.iter().any(|r| r.mounts.iter().any(|m| m.name == name))
}

pub(crate) async fn list(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["dangling", "driver", "label", "name"])?;
    let users = users(&api);
    let dangling = filters.flag("dangling")?;
    let records = api.volumes.list()?.into_iter().filter(|r| {
        filters.allows("name", |v| r.name.contains(v.as_str()))
            && filters.allows("driver", |v| v == "local")
            && dangling.is_none_or(|wanted| wanted != is_used(&users, &r.name))
            && filters.labels(&r.labels)
    });
    let volumes = records.map(|r| wire(&api, &r)).collect::<ApiResult<Vec<_>>>()?;
    Ok(Json(ListResponse { volumes, warnings: None }).into_response())
}

pub(crate) async fn create(State(api): State<Api>, JsonBody(request): JsonBody<CreateRequest>) -> ApiResult {
    if !matches!(request.driver.as_str(), "" | "local") {
        let (name, driver) = (&request.name, &request.driver);
        let message =
            format!("create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found");
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    }
    let (labels, options) = (request.labels.unwrap_or_default(), request.driver_opts.unwrap_or_default());
    let record = api.volumes.create(&request.name, labels, options)?;
    Ok((StatusCode::CREATED, Json(wire(&api, &record)?)).into_response())
}

pub(crate) async fn inspect(State(api): State<Api>, Path(name): Path<String>) -> ApiResult {
    Ok(Json(wire(&api, &api.volumes.inspect(&name)?)?).into_response())
}

/// `PUT /volumes/{name}` is for the volumes of a swarm.
pub(crate) async fn update() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    )
}

pub(crate) async fn remove(State(api): State<Api>, Path(name): Path<String>, params: Params) -> ApiResult {
    api.volumes.remove(&name, &users(&api), params.flag("force"))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn prune(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["all", "label", "label!"])?;
    let all = filters.flag("all")?.unwrap_or(false);
    let users = users(&api);
    let (mut deleted, mut reclaimed) = (Vec::new(), 0);
    for record in api.volumes.list()? {
        if (all || record.anonymous) && !is_used(&users, &record.name) && filters.labels(&record.labels) {
            reclaimed += api.volumes.size(&record.name)?;
            api.volumes.remove(&record.name, &users, true)?;
            deleted.push(record.name);
        }
    }
    let volumes_deleted = Some(deleted).filter(|list| !list.is_empty());
    Ok(Json(PruneResponse { volumes_deleted, space_reclaimed: reclaimed }).into_response())
}
