//! `POST /commit`: an image of a container.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::images::describe::{publish, reference};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_build::apply_changes;
use wharf_docker_api::types::IdResponse;
use wharf_engine::images::Commit;
use wharf_model::ErrorKind;
use wharf_model::state::Status;

pub(crate) async fn commit(State(api): State<Api>, params: Params) -> ApiResult {
    let name = params.get("container").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::bad_request("missing parameter: container"))?;
    let handle = api.containers.find(name)?;
    let record = handle.record();
    let changes: Vec<String> = params.all("changes").iter().map(ToString::to_string).collect();
    let commit = Commit {
        snapshot: record.id.to_string(),
        base: record.image.clone(),
        config: apply_changes(record.image_config(), &changes)?,
        author: params.get("author").unwrap_or_default().to_owned(),
        comment: params.get("comment").unwrap_or_default().to_owned(),
        created_by: record.command().join(" "),
        reference: params.get("repo").map(|repo| reference(repo, params.get("tag"))).transpose()?,
    };
    let pauses = record.status == Status::Running && params.flag_or_true("pause");
    // It may have ended meanwhile: then there is nothing to pause.
    let pauses = pauses
        && match handle.pause(true).await {
            Err(e) if e.kind() != ErrorKind::Conflict => return Err(e.into()),
            paused => paused.is_ok(),
        };
    let made = api.images.commit_container(commit).await;
    if pauses {
        // It may have ended meanwhile: then the commit is what matters.
        let resumed = handle.pause(false).await;
        if made.is_ok() && handle.record().status == Status::Paused {
            resumed?;
        }
    }
    let image = made?;
    publish(&api, "create", &image.id, image.id.as_str());
    Ok((StatusCode::CREATED, Json(IdResponse { id: image.id.to_string() })).into_response())
}
