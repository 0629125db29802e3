//! `GET /containers/{id}/top`: the processes of a container.

use super::ps;
use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::container::TopResponse;

pub(crate) async fn top(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let columns = ps::columns(params.get("ps_args").unwrap_or_default()).map_err(ApiError::bad_request)?;
    let record = api.containers.find(&id)?.record();
    if !record.status.is_running() {
        return Err(ApiError::new(StatusCode::CONFLICT, format!("container {} is not running", record.id)));
    }
    let host = ps::Host::read();
    let pids = api.containers.processes(&record).await?;
    let processes = pids.into_iter().filter_map(|pid| ps::row(pid, &columns, &host)).collect();
    api.containers.publish("top", &record, &[]);
    let titles = columns.into_iter().map(|column| column.title).collect();
    Ok(Json(TopResponse { titles, processes }).into_response())
}
