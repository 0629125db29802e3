//! Garbage collection, beyond Docker's API: `POST /system/gc`, and what `GET /info` shows.

use crate::Api;
use crate::error::ApiResult;
use crate::images::wire_removed;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use wharf_docker_api::types::system::{GarbageCollection, GcResponse};
use wharf_engine::clock::rfc3339;
use wharf_engine::gc::{Gc, words};

pub(crate) fn shown(gc: &Gc) -> GarbageCollection {
    let (policy, last) = (gc.policy(), gc.last());
    GarbageCollection {
        enabled: policy.enabled,
        interval: words(policy.interval),
        rules: policy.rules(),
        keep: policy
            .keep_references
            .iter()
            .cloned()
            .chain(policy.keep_labels.iter().map(|label| format!("label={label}")))
            .chain(policy.keep_container_labels.iter().map(|label| format!("container label={label}")))
            .collect(),
        last_run: last.as_ref().map(|report| rfc3339(report.at_ns)).unwrap_or_default(),
        last_reclaimed: last.map_or(0, |report| report.reclaimed),
    }
}

/// Removes now what the policy says.
pub(crate) async fn run(State(api): State<Api>) -> ApiResult {
    let report = api.gc.run().await?;
    let response = GcResponse {
        containers_deleted: report.containers,
        images_deleted: report.images.iter().map(wire_removed).collect(),
        volumes_deleted: report.volumes,
        space_reclaimed: report.reclaimed,
    };
    Ok(Json(response).into_response())
}
