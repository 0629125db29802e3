//! `POST /containers/{id}/wait`.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use tokio::sync::watch;
use wharf_docker_api::types::container::WaitResponse;
use wharf_engine::containers::View;
use wharf_model::state::Status;

#[derive(Clone, Copy)]
enum Until {
    NotRunning,
    NextExit,
    Removed,
}

/// The headers go out at once: clients start the container only when they have them.
pub(crate) async fn wait(State(api): State<Api>, Path(id): Path<String>, params: Params) -> ApiResult {
    let handle = api.containers.find(&id)?;
    let until = match params.get("condition") {
        None | Some("not-running") => Until::NotRunning,
        Some("next-exit") => Until::NextExit,
        Some("removed") => Until::Removed,
        Some(other) => return Err(ApiError::bad_request(format!("invalid condition: \"{other}\""))),
    };
    // Looked at before the answer begins, so that no exit falls between.
    let view = handle.watch();
    let exits = view.borrow().exits;
    let answer = futures_util::stream::once(async move {
        Ok::<_, std::convert::Infallible>(answer(view, until, exits).await)
    });
    let mut response = Body::from_stream(answer).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn answer(mut view: watch::Receiver<View>, until: Until, exits: u64) -> Vec<u8> {
    let reached = |v: &View| match until {
        Until::NotRunning => {
            v.removed || matches!(v.record.status, Status::Created | Status::Exited | Status::Removing)
        }
        Until::NextExit => v.removed || v.exits > exits,
        Until::Removed => v.removed,
    };
    // When the engine ends, the last state is the answer.
    let reached = view.wait_for(reached).await.map(|v| v.record.exit_code);
    let code = reached.unwrap_or_else(|_| view.borrow().record.exit_code);
    let response = WaitResponse { status_code: code.into(), error: None };
    // Wire types are plain data, which always serialise.
    let mut line = serde_json::to_vec(&response).unwrap_or_default();
    line.push(b'\n');
    line
}
