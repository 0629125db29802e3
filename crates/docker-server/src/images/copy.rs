//! What registries have, as it stands there, beyond Docker's API: manifests in and out, and copies between registries.

use super::auth::{by_registry, credentials};
use super::progress::MessageStream;
use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::{Params, bytes};
use crate::peer::Peer;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Document;
use wharf_oci::reference::Reference;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

fn header_value(text: &str) -> ApiResult<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| ApiError::bad_request("a media type that no header can have"))
}

/// `GET /distribution/{name}/manifest`: the document's own bytes.
pub(super) async fn manifest(api: &Api, name: &Reference, headers: &HeaderMap) -> ApiResult {
    let repository = api.images.client().repository(name, credentials(headers));
    let fetched = repository.manifest(name.selector()).await?;
    let headers = [
        (header::CONTENT_TYPE, header_value(&fetched.media_type)?),
        (CONTENT_DIGEST, header_value(fetched.digest.as_str())?),
    ];
    Ok((headers, fetched.body).into_response())
}

/// `PUT /distribution/{name}/manifest`: the body becomes what the name means; what it names has to be there.
pub(crate) async fn put_manifest(api: &Api, name: &Reference, headers: &HeaderMap, body: Body) -> ApiResult {
    let body = bytes(body).await?;
    let stated = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let document = Document::parse(&body, stated).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let digest = api.images.put_manifest(name, credentials(headers), document.media_type(), body).await?;
    Ok((StatusCode::CREATED, [(CONTENT_DIGEST, header_value(digest.as_str())?)]).into_response())
}

/// Bytes of a blob that goes through us whole: configurations, and files of artifacts.
const MAX_BLOB: u64 = 8 << 20;

/// `GET /distribution/{name}/blob?digest=&size=`: a small blob of the repository, verified.
pub(super) async fn blob(api: &Api, name: &Reference, params: &Params, headers: &HeaderMap) -> ApiResult {
    let digest = params.get("digest").and_then(|digest| digest.parse::<Digest>().ok());
    let digest = digest.ok_or_else(|| ApiError::bad_request("missing or invalid parameter: digest"))?;
    let size = params.number::<u64>("size")?;
    let size = size.ok_or_else(|| ApiError::bad_request("missing parameter: size"))?;
    let repository = api.images.client().repository(name, credentials(headers));
    let content = repository.small_blob(&digest, size, MAX_BLOB).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_DIGEST, header_value(digest.as_str())?),
    ];
    Ok((headers, content).into_response())
}

/// `PUT /distribution/{name}/blob`: the body, for the repository.
pub(super) async fn put_blob(api: &Api, name: &Reference, headers: &HeaderMap, body: Body) -> ApiResult {
    let body = bytes(body).await?;
    let digest = api.images.client().repository(name, credentials(headers)).upload_bytes(&body).await?;
    Ok((StatusCode::CREATED, [(CONTENT_DIGEST, header_value(digest.as_str())?)]).into_response())
}

/// `POST /distribution/{name}/copy?to=&platform=`: credentials of both registries in `X-Registry-Config`.
pub(super) fn copy(api: Api, from: Reference, params: &Params, peer: Peer, headers: &HeaderMap) -> ApiResult {
    let to = params.get("to").ok_or_else(|| ApiError::bad_request("missing parameter: to"))?;
    let to: Reference = to.parse().map_err(|e| ApiError::bad_request(format!("{e}")))?;
    let platform = super::transfer::platform(params)?;
    let known = by_registry(headers);
    let of = move |name: &Reference| known.get(name.domain()).cloned().unwrap_or_default();
    let (stream, messages) = MessageStream::new();
    tokio::spawn(async move {
        let copy = api.images.copy((&from, of(&from)), (&to, of(&to)), platform.as_ref(), stream.sink());
        let result = tokio::select! {
            result = copy => result,
            () = stream.abandoned(peer) => return,
        };
        if let Err(e) = result {
            stream.error(e, 0);
        }
    });
    Ok(messages.response())
}
