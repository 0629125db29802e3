//! `GET /system/df`.

use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::{Api, containers, images, volumes};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_docker_api::types::container::Summary as ContainerSummary;
use wharf_docker_api::types::image::Summary as ImageSummary;
use wharf_docker_api::types::system::DiskUsage;
use wharf_docker_api::types::volume::{UsageData, Volume};

const TYPES: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// Counts what is asked for by `type`, or everything.
pub(crate) async fn usage(State(api): State<Api>, params: Params) -> ApiResult {
    let types = params.all("type");
    if let Some(unknown) = types.iter().find(|t| !TYPES.contains(t)) {
        return Err(ApiError::bad_request(format!("unknown object type: {unknown}")));
    }
    let wants = |kind: &str| types.is_empty() || types.contains(&kind);
    let containers = if wants("container") { Some(containers_of(&api).await?) } else { None };
    let (with_images, with_volumes) = (wants("image"), wants("volume"));
    let measure = move || -> ApiResult<DiskUsage> {
        Ok(DiskUsage {
            layers_size: if with_images { api.images.disk_usage()? as i64 } else { 0 },
            images: with_images.then(|| images_of(&api)).transpose()?,
            containers,
            volumes: with_volumes.then(|| volumes_of(&api)).transpose()?,
            // The classic builder's cache are its images.
            build_cache: Some(Vec::new()),
            builder_size: None,
        })
    };
    let measured = tokio::task::spawn_blocking(measure).await;
    let usage = measured
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    Ok(Json(usage).into_response())
}

async fn containers_of(api: &Api) -> ApiResult<Vec<ContainerSummary>> {
    let mut summaries = Vec::new();
    for record in api.containers.list().iter().map(|h| h.record()) {
        let mut summary = containers::list::summary(api, &record);
        summary.size_rw = match api.containers.size(&record).await {
            Ok(size) => Some(size as i64),
            // Removed meanwhile.
            Err(e) if e.kind() == wharf_model::ErrorKind::NotFound => continue,
            Err(e) => return Err(e.into()),
        };
        summaries.push(summary);
    }
    Ok(summaries)
}

fn images_of(api: &Api) -> ApiResult<Vec<ImageSummary>> {
    let shared = api.images.shared_sizes()?;
    let of = |listed: &wharf_engine::images::Listed| ImageSummary {
        shared_size: shared.get(&listed.image.id).map_or(0, |size| *size as i64),
        ..images::describe::summary(api, listed)
    };
    Ok(api.images.list().iter().map(of).collect())
}

fn volumes_of(api: &Api) -> ApiResult<Vec<Volume>> {
    let users = volumes::users(api);
    let of = |record: &wharf_engine::volumes::VolumeRecord| {
        let uses = users.iter().filter(|r| r.mounts.iter().any(|m| m.name == record.name)).count();
        let usage = UsageData { ref_count: uses as i64, size: api.volumes.size(&record.name)? as i64 };
        Ok(Volume { usage_data: Some(usage), ..volumes::wire(api, record)? })
    };
    api.volumes.list()?.iter().map(of).collect()
}
