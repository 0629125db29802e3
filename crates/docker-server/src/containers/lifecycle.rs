//! Start, stop, kill, pause, rename, update, resize, remove, prune.

use crate::Api;
use crate::convert;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, json};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::container::{CreateRequest, PruneResponse, UpdateRequest, UpdateResponse};
use wharf_engine::containers::{Command, StopRequest, Update};

fn done() -> ApiResult {
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn signal(api: &Api, params: &Params) -> ApiResult<Option<i32>> {
    let Some(name) = params.get("signal") else { return Ok(None) };
    let number = api.containers.launcher().signal_number(name);
    // Beyond the last real-time signal.
    let beyond = name.parse::<u32>().is_ok_and(|n| n > 64);
    number.map(Some).ok_or_else(|| match beyond {
        true => ApiError::bad_request(format!("the linux daemon does not support signal {name}")),
        false => ApiError::bad_request(format!("invalid signal: {name}")),
    })
}

fn stop_request(api: &Api, params: &Params) -> ApiResult<StopRequest> {
    Ok(StopRequest { signal: signal(api, params)?, timeout_s: params.number("t")? })
}

pub(crate) async fn start(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    api.containers.find(&id)?.start().await?;
    done()
}

pub(crate) async fn stop(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let handle = api.containers.find(&id)?;
    handle.stop(stop_request(&api, &params)?).await?;
    done()
}

pub(crate) async fn restart(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let handle = api.containers.find(&id)?;
    handle.restart(stop_request(&api, &params)?).await?;
    api.containers.publish("restart", &handle.record(), &[]);
    done()
}

pub(crate) async fn kill(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let told = |e: ApiError| e.after(&format!("cannot kill container: {id}"));
    let handle = api.containers.find(&id).map_err(|e| told(e.into()))?;
    let signal = signal(&api, &params).map_err(told)?;
    handle.kill(signal.unwrap_or(9)).await?;
    done()
}

pub(crate) async fn pause(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    api.containers.find(&id)?.pause(true).await?;
    done()
}

pub(crate) async fn unpause(State(api): State<Api>, Path(id): Path<String>) -> ApiResult {
    api.containers.find(&id)?.pause(false).await?;
    done()
}

pub(crate) async fn rename(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let name =
        params.get("name").ok_or_else(|| ApiError::bad_request("Neither old nor new names may be empty"))?;
    api.containers.find(&id)?.rename(name.to_owned()).await?;
    done()
}

pub(crate) async fn update(State(api): State<Api>, Path(id): Path<String>, body: Body) -> ApiResult {
    let request: UpdateRequest = json(body).await?;
    let mut resources = convert::resources(&request.resources)?;
    if let Some(memory) = resources.memory.as_mut().filter(|_| request.resources.memory_swap == 0) {
        memory.swap = None;
    }
    let restart = match request.restart_policy.name.as_str() {
        "" => None,
        _ => Some(convert::restart(&request.restart_policy)?),
    };
    let ports = request.port_bindings.clone().map(convert::ports).transpose()?;
    let handle = api.containers.find(&id)?;
    let origin = updated(&handle.record().spec.origin, &request)?;
    let update = Update { resources, restart, ports, origin };
    handle.ask(|reply| Command::Update(Box::new(update), reply)).await?;
    Ok(Json(UpdateResponse { warnings: None }).into_response())
}

/// The request a container was created with, with the changes that were asked for in it.
fn updated(origin: &serde_json::Value, request: &UpdateRequest) -> ApiResult<serde_json::Value> {
    let failed = |e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("keep the request: {e}"));
    let serde_json::Value::Object(changes) = serde_json::to_value(request).map_err(failed)? else {
        return Ok(origin.clone());
    };
    let mut created: CreateRequest = serde_json::from_value(origin.clone()).map_err(failed)?;
    let keeps_policy = request.restart_policy.name.is_empty();
    let is_open = |key: &str, value: &serde_json::Value| match value {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(given) => !given,
        serde_json::Value::Number(number) => number.as_i64() == Some(0),
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(list) => list.is_empty(),
        serde_json::Value::Object(_) => key == "RestartPolicy" && keeps_policy,
    };
    let mut host = serde_json::to_value(&created.host_config).map_err(failed)?;
    if let Some(host) = host.as_object_mut() {
        host.extend(changes.into_iter().filter(|(key, value)| !is_open(key, value)));
    }
    created.host_config = serde_json::from_value(host).map_err(failed)?;
    serde_json::to_value(created).map_err(failed)
}

pub(crate) async fn resize(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let handle = api.containers.find(&id)?;
    let (rows, columns) = size(&params)?;
    api.containers.launcher().resize(handle.id(), None, rows, columns).await?;
    Ok(StatusCode::OK.into_response())
}

/// The parameters `h` and `w`.
pub(crate) fn size(params: &Params) -> ApiResult<(u16, u16)> {
    let number = |name, what: &str| {
        let text = params.get(name).unwrap_or_default();
        let number = text.parse::<u16>();
        number.map_err(|_| ApiError::bad_request(format!("invalid resize {what} {text:?}: invalid syntax")))
    };
    Ok((number("h", "height")?, number("w", "width")?))
}

pub(crate) async fn remove(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    if params.flag("link") {
        let message = "Conflict, cannot remove the default link name of the container";
        return Err(ApiError::new(StatusCode::CONFLICT, message));
    }
    api.containers.find(&id)?.remove(params.flag("force"), params.flag("v")).await?;
    done()
}

/// `DELETE /containers/{id}/{alias}?link=1`: one link of a container.
pub(crate) async fn unlink(
    State(api): State<Api>,
    Path((id, alias)): Path<(String, String)>,
    params: Params,
) -> ApiResult {
    if !params.flag("link") {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("No such container: {id}/{alias}")));
    }
    api.containers.find(&id)?.ask(|reply| Command::Unlink(alias, reply)).await?;
    done()
}

pub(crate) async fn prune(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["label", "label!", "until"])?;
    let until = filters.until()?;
    let (mut deleted, mut reclaimed) = (Vec::new(), 0);
    for handle in api.containers.list() {
        let record = handle.record();
        let ended = !record.status.is_running() && until.is_none_or(|t| record.created_ns < t);
        if !ended || !filters.labels(&record.spec.labels) {
            continue;
        }
        let size = api.containers.size(&record).await?;
        if handle.remove(false, false).await.is_ok() {
            reclaimed += size;
            deleted.push(record.id.to_string());
        }
    }
    crate::events::pruned(&api, "container", reclaimed);
    let containers_deleted = Some(deleted).filter(|list| !list.is_empty());
    Ok(Json(PruneResponse { containers_deleted, space_reclaimed: reclaimed }).into_response())
}
