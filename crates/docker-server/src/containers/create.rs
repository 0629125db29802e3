//! `POST /containers/create`.

use crate::error::ApiResult;
use crate::params::{Params, json};
use crate::{Api, convert};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::container::{CreateRequest, CreateResponse};

pub(crate) async fn create(State(api): State<Api>, params: Params, body: Body) -> ApiResult {
    let request: CreateRequest = json(body).await?;
    let name = params.get("name").map(|n| n.strip_prefix('/').unwrap_or(n).to_owned());
    let created = api.containers.create(name, convert::spec(request, &api.about)?).await?;
    let response = CreateResponse { id: created.handle.id().to_string(), warnings: created.warnings };
    Ok((StatusCode::CREATED, Json(response)).into_response())
}
