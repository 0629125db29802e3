//! `/volumes`.

use crate::Api;
use crate::body::reader;
use crate::containers::archive::{tar, written_body};
use crate::error::{ApiError, ApiResult};
use crate::params::{JsonBody, Params};
use crate::version::Version;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::sync::Arc;
use wharf_docker_api::types::volume::{CreateRequest, ListResponse, PruneResponse, Volume};
use wharf_engine::clock::rfc3339;
use wharf_engine::images::plain;
use wharf_engine::transfer;
use wharf_engine::volumes::VolumeRecord;
use wharf_model::container::ContainerRecord;
use wharf_model::{Error, ErrorKind};

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

/// Work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> wharf_model::Result<T> + Send + 'static,
) -> ApiResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|e| Error::internal(format!("a worker failed: {e}")))??)
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
    // Without a directory it was removed meanwhile.
    let volumes = records.filter_map(|r| wire(&api, &r).ok()).collect();
    Ok(Json(ListResponse { volumes, warnings: None }).into_response())
}

pub(crate) async fn create(State(api): State<Api>, JsonBody(request): JsonBody<CreateRequest>) -> ApiResult {
    if !matches!(request.driver.as_str(), "" | "local") {
        let (name, driver) = (&request.name, &request.driver);
        let message =
            format!("create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found");
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    }
    let (labels, options) = (request.labels.unwrap_or_default().0, request.driver_opts.unwrap_or_default().0);
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
    let force = params.flag("force");
    blocking(move || api.volumes.remove(&name, &|| Ok(users(&api)), force)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn new_name(params: &Params) -> ApiResult<String> {
    let name = params.get("name").ok_or_else(|| ApiError::bad_request("missing parameter: name"))?;
    Ok(name.to_owned())
}

/// `POST /volumes/{name}/rename?name=`, beyond Docker's API.
pub(crate) async fn rename(State(api): State<Api>, Path(name): Path<String>, params: Params) -> ApiResult {
    let to = new_name(&params)?;
    blocking(move || api.volumes.rename(&name, &to, &|| Ok(users(&api)))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /volumes/{name}/clone?name=`, beyond Docker's API.
pub(crate) async fn clone(State(api): State<Api>, Path(name): Path<String>, params: Params) -> ApiResult {
    let (to, worker) = (new_name(&params)?, api.clone());
    let record = blocking(move || worker.volumes.clone_volume(&name, &to)).await?;
    Ok((StatusCode::CREATED, Json(wire(&api, &record)?)).into_response())
}

/// `GET /volumes/{name}/archive`, beyond Docker's API.
pub(crate) async fn export(State(api): State<Api>, Path(name): Path<String>) -> ApiResult {
    api.volumes.inspect(&name)?;
    Ok(tar(written_body(move |out| api.volumes.export(&name, out))))
}

/// `PUT /volumes/{name}/archive`, beyond Docker's API: a tar, also compressed with gzip or zstd.
pub(crate) async fn import(State(api): State<Api>, Path(name): Path<String>, body: Body) -> ApiResult {
    transfer::run(move || {
        let mut archive =
            plain(reader(body)).map_err(|e| Error::wrap(ErrorKind::Invalid, "read the archive", e))?;
        api.volumes.import(&name, &mut archive)
    })
    .await??;
    Ok(StatusCode::OK.into_response())
}

/// `POST /volumes/prune`.
pub(crate) async fn prune(State(api): State<Api>, params: Params, version: Version) -> ApiResult {
    let filters = params.filters(&["all", "label", "label!"])?;
    // Until 1.41 those with names went, too.
    let all = version.is_before(42) || filters.boolean("all")?.unwrap_or(false);
    let response = blocking(move || {
        let (mut deleted, mut reclaimed) = (Vec::new(), 0);
        let in_use = users(&api);
        for record in api.volumes.list()? {
            let wanted = (all || record.anonymous) && filters.labels(&record.labels);
            if !wanted || is_used(&in_use, &record.name) {
                continue;
            }
            let size = api.volumes.size(&record.name)?;
            match api.volumes.remove(&record.name, &|| Ok(users(&api)), true) {
                Ok(()) => {
                    reclaimed += size;
                    deleted.push(record.name);
                }
                // Somebody began to use it.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) => return Err(e),
            }
        }
        crate::events::pruned(&api, "volume", reclaimed);
        Ok(PruneResponse { volumes_deleted: Some(deleted), space_reclaimed: reclaimed })
    });
    Ok(Json(response.await?).into_response())
}
