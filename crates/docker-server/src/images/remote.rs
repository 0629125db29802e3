//! What registries have: `/distribution/{name}/…` and `GET /images/search`.

use super::auth;
use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::peer::Peer;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use wharf_docker_api::types::image::SearchResult;
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::{Descriptor, Document};
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// `GET /distribution/{name}/json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DistributionInspect {
    descriptor: Descriptor,
    platforms: Vec<Platform>,
}

/// `GET /distribution/{name}/tags`, beyond Docker's API: all tags of the repository, in the registry's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DistributionTags {
    name: String,
    tags: Vec<String>,
}

/// Bytes an image's configuration may have.
const MAX_CONFIG: u64 = 8 << 20;
/// Results without a limit of the client's; and the most there are.
const RESULTS: u32 = 25;
const MAX_RESULTS: u32 = 100;

/// The name before the last part, and that: a name has slashes of its own.
fn split(rest: &str) -> ApiResult<(Reference, &str)> {
    let (name, verb) = rest.rsplit_once('/').unwrap_or((rest, ""));
    let known = matches!(verb, "json" | "manifest" | "blob" | "copy" | "tags");
    if !known {
        let message = format!("/distribution/{rest} is not served by this engine");
        return Err(ApiError::new(StatusCode::NOT_FOUND, message));
    }
    let reference: Reference = name
        .parse()
        .map_err(|e| ApiError::bad_request(format!("invalid reference format: {name:?}: {e}")))?;
    Ok((reference.or_latest(), verb))
}

/// `GET /distribution/{name}/json|manifest|blob|tags`.
pub(crate) async fn distribution(
    State(api): State<Api>,
    Path(rest): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> ApiResult {
    match split(&rest)? {
        (name, "json") => inspect(&api, &name, &headers).await,
        (name, "manifest") => super::copy::manifest(&api, &name, &headers).await,
        (name, "tags") => tags(&api, &name, &headers).await,
        (name, "blob") => super::copy::blob(&api, &name, &params, &headers).await,
        _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "a copy is asked for by POST")),
    }
}

/// `PUT /distribution/{name}/manifest|blob`.
pub(crate) async fn put(
    State(api): State<Api>,
    Path(rest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    match split(&rest)? {
        (name, "manifest") => super::copy::put_manifest(&api, &name, &headers, body).await,
        (name, "blob") => super::copy::put_blob(&api, &name, &headers, body).await,
        _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "only manifests and blobs can be put")),
    }
}

/// `POST /distribution/{name}/copy`.
pub(crate) async fn post(
    State(api): State<Api>,
    Path(rest): Path<String>,
    params: Params,
    peer: Peer,
    headers: HeaderMap,
) -> ApiResult {
    match split(&rest)? {
        (name, "copy") => super::copy::copy(api, name, &params, peer, &headers),
        _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "only copies are posted")),
    }
}

async fn inspect(api: &Api, reference: &Reference, headers: &HeaderMap) -> ApiResult {
    let repository = api.images.client().repository(reference, auth::credentials(headers));
    let fetched = repository.manifest(reference.selector()).await?;
    let platforms = match &fetched.document {
        Document::Index(index) => index.manifests.iter().filter_map(|entry| entry.platform.clone()).collect(),
        Document::Manifest(manifest) => {
            let blob = &manifest.config;
            let bytes = repository.small_blob(&blob.digest, blob.size, MAX_CONFIG).await?;
            let config: Option<ImageConfig> = serde_json::from_slice(&bytes).ok();
            // An artifact has a configuration of another kind, without a platform.
            config.map(|c| c.platform).filter(|p| !p.os.is_empty()).into_iter().collect()
        }
    };
    let descriptor = Descriptor::new(fetched.media_type, fetched.digest, fetched.body.len() as u64);
    Ok(Json(DistributionInspect { descriptor, platforms }).into_response())
}

async fn tags(api: &Api, reference: &Reference, headers: &HeaderMap) -> ApiResult {
    let repository = api.images.client().repository(reference, auth::credentials(headers));
    let (name, tags) = (reference.familiar_name(), repository.tags().await?);
    Ok(Json(DistributionTags { name, tags }).into_response())
}

/// `term`, or `registry/term`: Docker Hub is searched by its own search, other registries' catalogues by name.
pub(crate) async fn search(State(api): State<Api>, params: Params, headers: HeaderMap) -> ApiResult {
    let limit = params.number::<u32>("limit")?.unwrap_or(0);
    if limit > MAX_RESULTS {
        let message = format!("limit {limit} is outside the range of [1, {MAX_RESULTS}]");
        return Err(ApiError::bad_request(message));
    }
    let limit = if limit == 0 { RESULTS } else { limit };
    let filters = params.filters(&["is-automated", "is-official", "stars"])?;
    let term = params.get("term").unwrap_or_default();
    if term.contains("://") {
        let message = format!("invalid repository name: {term:?}: a name without a scheme is expected");
        return Err(ApiError::bad_request(message));
    }
    let credentials = auth::credentials(&headers);
    let found = api.images.client().search(term, limit, &credentials).await?;
    let results: Vec<SearchResult> = found
        .into_iter()
        .map(|found| SearchResult {
            name: found.name,
            description: found.description,
            star_count: found.star_count,
            is_official: found.is_official,
            ..SearchResult::default()
        })
        .filter(|r| {
            filters.allows("is-official", |v| matches!(v.as_str(), "1" | "true") == r.is_official)
                && filters.allows("is-automated", |v| matches!(v.as_str(), "1" | "true") == r.is_automated)
                && filters.allows("stars", |v| v.parse::<i64>().is_ok_and(|least| r.star_count >= least))
        })
        .collect();
    Ok(Json(results).into_response())
}
