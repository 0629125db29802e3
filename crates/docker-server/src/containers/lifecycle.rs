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
use wharf_docker_api::types::container::{PruneResponse, UpdateRequest, UpdateResponse};
use wharf_engine::clock::now_ns;
use wharf_engine::containers::{Command, StopRequest};

fn done() -> ApiResult {
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn signal(api: &Api, params: &Params) -> ApiResult<Option<i32>> {
    let Some(name) = params.get("signal") else { return Ok(None) };
    let number = api.containers.launcher().signal_number(name);
    number.map(Some).ok_or_else(|| ApiError::bad_request(format!("invalid signal: {name}")))
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
    done()
}

pub(crate) async fn kill(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let handle = api.containers.find(&id)?;
    handle.kill(signal(&api, &params)?.unwrap_or(9)).await?;
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
    let resources = convert::resources(&request.resources)?;
    let restart = match request.restart_policy.name.as_str() {
        "" => None,
        _ => Some(convert::restart(&request.restart_policy)?),
    };
    let handle = api.containers.find(&id)?;
    handle.ask(|reply| Command::Update(Box::new(resources), restart, reply)).await?;
    Ok(Json(UpdateResponse { warnings: None }).into_response())
}

pub(crate) async fn resize(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let handle = api.containers.find(&id)?;
    let (rows, columns) = size(&params)?;
    api.containers.launcher().resize(handle.id(), None, rows, columns).await?;
    Ok(StatusCode::OK.into_response())
}

/// The parameters `h` and `w`.
pub(crate) fn size(params: &Params) -> ApiResult<(u16, u16)> {
    let number = |name| {
        params
            .number::<u16>(name)?
            .ok_or_else(|| ApiError::bad_request(format!("parameter {name} is missing")))
    };
    Ok((number("h")?, number("w")?))
}

pub(crate) async fn remove(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    if params.flag("link") {
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "links are not supported yet"));
    }
    api.containers.find(&id)?.remove(params.flag("force"), params.flag("v")).await?;
    done()
}

pub(crate) async fn prune(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["label", "label!", "until"])?;
    let (mut deleted, mut reclaimed) = (Vec::new(), 0);
    for handle in api.containers.list() {
        let record = handle.record();
        let ended = !record.status.is_running() && record.created_ns < now_ns();
        if !ended || !filters.labels(&record.spec.labels) {
            continue;
        }
        let size = api.containers.size(&record).await?;
        if handle.remove(false, false).await.is_ok() {
            reclaimed += size;
            deleted.push(record.id.to_string());
        }
    }
    Ok(Json(PruneResponse { containers_deleted: Some(deleted), space_reclaimed: reclaimed }).into_response())
}
