//! `GET /system/df`.

use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::{Api, build_cache, containers, images, volumes};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::{StreamExt, TryStreamExt};
use std::sync::Arc;
use wharf_docker_api::types::container::Summary as ContainerSummary;
use wharf_docker_api::types::image::Summary as ImageSummary;
use wharf_docker_api::types::system::DiskUsage;
use wharf_docker_api::types::volume::{UsageData, Volume};
use wharf_model::container::ContainerRecord;

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
    let with_caches = wants("build-cache");
    let measure = move || -> ApiResult<DiskUsage> {
        Ok(DiskUsage {
            layers_size: if with_images { api.images.disk_usage()? as i64 } else { 0 },
            images: with_images.then(|| images_of(&api)).transpose()?,
            containers,
            volumes: with_volumes.then(|| volumes_of(&api)).transpose()?,
            build_cache: if with_caches {
                Some(build_cache::list(&api.builder.caches, &api.buildkit)?)
            } else {
                Some(Vec::new())
            },
            builder_size: None,
        })
    };
    let measured = tokio::task::spawn_blocking(measure).await;
    let usage = measured
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    Ok(Json(usage).into_response())
}

/// Trees that are measured at once: the disk's queue is short, and others want it too.
const AT_ONCE: usize = 4;

async fn containers_of(api: &Api) -> ApiResult<Vec<ContainerSummary>> {
    let measured = futures_util::stream::iter(api.containers.list()).map(async |handle| {
        let record = handle.record();
        match api.containers.size(&record).await {
            Ok(size) => Ok(Some((record, size))),
            // Removed meanwhile.
            Err(e) if e.kind() == wharf_model::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    });
    let measured: Vec<_> = measured.buffered(AT_ONCE).try_collect().await?;
    let mut ids = containers::endpoints::NetworkIds::of(api);
    let of = |(record, size): (Arc<ContainerRecord>, u64)| {
        let image = api.images.resolve(record.image.as_str()).map_or(0, |image| image.size);
        ContainerSummary {
            size_rw: Some(size as i64),
            size_root_fs: Some((size + image) as i64),
            ..containers::list::summary(&mut ids, &record)
        }
    };
    Ok(measured.into_iter().flatten().map(of).collect())
}

/// What an image takes of the disk: its files, and the archives they came in, which a push needs again.
fn images_of(api: &Api) -> ApiResult<Vec<ImageSummary>> {
    let usage = api.images.usage()?;
    let of = |listed: &wharf_engine::images::Listed| {
        let (size, shared) = usage.get(&listed.image.id).copied().unwrap_or_default();
        let summary = images::describe::summary(api, listed);
        ImageSummary { size: size as i64, shared_size: shared as i64, ..summary }
    };
    Ok(api.images.list().iter().map(of).collect())
}

fn volumes_of(api: &Api) -> ApiResult<Vec<Volume>> {
    let users = volumes::users(api);
    let of = |record: &wharf_engine::volumes::VolumeRecord| {
        let uses = users.iter().filter(|r| r.mounts.iter().any(|m| m.name == record.name)).count();
        let usage = UsageData { ref_count: uses as i64, size: api.volumes.size(&record.name)? as i64 };
        Ok::<_, ApiError>(Volume { usage_data: Some(usage), ..volumes::wire(api, record)? })
    };
    // What cannot be measured was removed meanwhile.
    Ok(api.volumes.list()?.iter().filter_map(|record| of(record).ok()).collect::<Vec<_>>())
}
