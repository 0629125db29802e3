//! `POST /containers/{id}/wait`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::peer::Peer;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use tokio::sync::watch;
use wharf_docker_api::types::container::{WaitError, WaitResponse};
use wharf_engine::containers::View;
use wharf_model::container::ContainerRecord;
use wharf_model::health::HealthStatus;
use wharf_model::state::Status;

#[derive(Clone, Copy)]
enum Until {
    NotRunning,
    NextExit,
    Removed,
    /// Wharf's own: it runs and is well, or will not be.
    Healthy,
}

/// The headers go out at once: clients start the container only when they have them.
pub(crate) async fn wait(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    peer: Peer,
) -> ApiResult {
    let until = match params.get("condition") {
        None | Some("not-running") => Until::NotRunning,
        Some("next-exit") => Until::NextExit,
        Some("removed") => Until::Removed,
        Some("healthy") => Until::Healthy,
        Some(other) => return Err(ApiError::bad_request(format!("invalid condition: \"{other}\""))),
    };
    let handle = api.containers.find(&id)?;
    // Looked at before the answer begins, so that no exit falls between.
    let view = handle.watch();
    let exits = view.borrow().exits;
    let answer = futures_util::stream::once(async move {
        Ok::<_, std::convert::Infallible>(answer(view, until, exits).await)
    });
    let mut response = peer.body(answer).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn answer(mut view: watch::Receiver<View>, until: Until, exits: u64) -> Vec<u8> {
    let reached = |v: &View| match until {
        Until::NotRunning => {
            // A restart policy starts it again, but this run has ended.
            let ended = matches!(v.record.status, Status::Created | Status::Exited | Status::Removing);
            v.removed || ended || v.exits > exits
        }
        Until::NextExit => v.removed || v.exits > exits,
        Until::Removed => v.removed,
        Until::Healthy => v.removed || !is_starting(&v.record),
    };
    // When the engine ends, the last state is the answer.
    let reached = view.wait_for(reached).await.map(|v| v.clone());
    let last = reached.unwrap_or_else(|_| view.borrow().clone());
    let response = match until {
        Until::Healthy => health(&last),
        _ => WaitResponse { status_code: last.record.exit_code.into(), error: None },
    };
    // Wire types are plain data, which always serialise.
    let mut line = serde_json::to_vec(&response).unwrap_or_default();
    line.push(b'\n');
    line
}

/// It may become healthy yet.
fn is_starting(record: &ContainerRecord) -> bool {
    match record.status {
        Status::Starting | Status::Restarting => true,
        Status::Running => record.health.as_ref().is_some_and(|h| h.status == HealthStatus::Starting),
        _ => false,
    }
}

/// 0 for a container that runs and is not unhealthy, else 1 with the reason.
fn health(view: &View) -> WaitResponse {
    let record = &view.record;
    let why = match (record.status, record.health.as_ref().map(|h| h.status)) {
        (Status::Running, None | Some(HealthStatus::Healthy)) if !view.removed => {
            return WaitResponse { status_code: 0, error: None };
        }
        (Status::Running, _) if !view.removed => format!("container {} is unhealthy", record.name),
        _ => format!("container {} exited ({})", record.name, record.exit_code),
    };
    WaitResponse { status_code: 1, error: Some(WaitError { message: why }) }
}
