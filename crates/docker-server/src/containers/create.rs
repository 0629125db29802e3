//! `POST /containers/create`.

use crate::error::ApiResult;
use crate::params::{JsonBody, Params};
use crate::version::Version;
use crate::{Api, convert, verify};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::container::{CreateRequest, CreateResponse};

pub(crate) async fn create(
    State(api): State<Api>,
    params: Params,
    version: Version,
    JsonBody(mut request): JsonBody<CreateRequest>,
) -> ApiResult {
    version.create(&mut request);
    let is_signal = |name: &str| api.containers.launcher().signal_number(name).is_some();
    let mut warnings = verify::create(&request, version, is_signal)?;
    let platforms = crate::images::platforms(&params, "platform")?;
    if !platforms.is_empty() {
        api.images.resolve_for(&request.config.image, &platforms)?;
    }
    let name = params.get("name").map(|n| n.strip_prefix('/').unwrap_or(n).to_owned());
    let created = api.containers.create(name, convert::spec(request, &api.about)?).await?;
    warnings.extend(created.warnings);
    let response = CreateResponse { id: created.handle.id().to_string(), warnings };
    Ok((StatusCode::CREATED, Json(response)).into_response())
}
