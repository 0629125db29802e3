//! Images in and out: pull, push, load, save, import, prune.

use super::auth::credentials;
use super::describe::{in_use, publish, reference, wire_removed};
use super::progress::MessageStream;
use crate::Api;
use crate::body::reader;
use crate::containers::archive::written_body;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::peer::Peer;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use std::sync::Arc;
use tokio_util::io::{StreamReader, SyncIoBridge};
use wharf_build::apply_changes;
use wharf_distribution::client::Credentials;
use wharf_docker_api::types::image::PruneResponse;
use wharf_engine::images::Import;
use wharf_model::{Error, ErrorKind};
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

pub(super) fn platform(params: &Params) -> ApiResult<Option<Platform>> {
    Ok(platforms(params, "platform")?.pop())
}

/// Platforms as `linux/arm64`, or as JSON, which clients of API 1.48 send.
pub(crate) fn platforms(params: &Params, name: &str) -> ApiResult<Vec<Platform>> {
    let parse = |text: &str| match text.starts_with('{') {
        true => serde_json::from_str(text)
            .map(Platform::normalised)
            .map_err(|e| ApiError::bad_request(format!("invalid platform: {e}"))),
        false => text.parse().map_err(|e| ApiError::bad_request(format!("{e}"))),
    };
    params.all(name).into_iter().filter(|text| !text.is_empty()).map(parse).collect()
}

/// `POST /images/create`: pull, or import with `fromSrc`.
pub(crate) async fn create(
    State(api): State<Api>,
    params: Params,
    peer: Peer,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    if let Some(source) = params.get("fromSrc") {
        return import(api, source.to_owned(), &params, body).await;
    }
    let name =
        params.get("fromImage").ok_or_else(|| ApiError::bad_request("missing parameter: fromImage"))?;
    let wanted = reference(name, params.get("tag").filter(|tag| !tag.is_empty()))?;
    let (platform, credentials) = (platform(&params)?, credentials(&headers));
    let (stream, messages) = MessageStream::new();
    tokio::spawn(async move {
        let pull = pull(&api, wanted, platform.as_ref(), credentials, &stream);
        let result = tokio::select! {
            result = pull => result,
            () = stream.abandoned(peer) => return,
        };
        match result {
            Ok(names) => names.iter().for_each(|name| publish_pull(&api, &name.familiar())),
            Err(e) => stream.error(e, 0),
        }
    });
    messages.answer().await
}

/// A name without tag and digest is all its tags.
async fn pull(
    api: &Api,
    wanted: Reference,
    platform: Option<&Platform>,
    credentials: Credentials,
    stream: &MessageStream,
) -> wharf_model::Result<Vec<Reference>> {
    if wanted.tag().is_none() && wanted.digest().is_none() {
        let pulled = api.images.pull_all(&wanted, platform, credentials, stream.sink()).await?;
        return Ok(pulled.into_iter().map(|(name, _)| name).collect());
    }
    api.images.pull(&wanted, platform, credentials, stream.sink()).await?;
    Ok(vec![wanted])
}

fn publish_pull(api: &Api, name: &str) {
    if let Ok(image) = api.images.resolve(name) {
        publish(api, "pull", &image.id, name);
    }
}

async fn import(api: Api, source: String, params: &Params, body: Body) -> ApiResult {
    let tag = params.get("repo").map(|repo| reference(repo, params.get("tag"))).transpose()?;
    let changes: Vec<String> = params.all("changes").iter().map(ToString::to_string).collect();
    let import = Import {
        reference: tag,
        message: match params.get("message") {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => format!("Imported from {source}"),
        },
        config: apply_changes(Default::default(), &changes)?,
        platform: platform(params)?,
    };
    let (stream, messages) = MessageStream::new();
    let name = import.reference.clone().map(|name| name.or_latest().familiar());
    tokio::spawn(async move {
        match import_from(&api, &source, body, import).await {
            Ok(image) => {
                if let Some(name) = name {
                    publish(&api, "tag", &image.id, &name);
                }
                publish(&api, "import", &image.id, image.id.as_str());
                stream.status(image.id.as_str());
            }
            Err(e) => stream.error(e, 0),
        }
    });
    messages.answer().await
}

/// The tar is the request's body, or a document of the web.
async fn import_from(
    api: &Api,
    source: &str,
    body: Body,
    import: Import,
) -> wharf_model::Result<Arc<wharf_engine::images::Image>> {
    if source == "-" {
        return api.images.import(reader(body), import).await;
    }
    let url = if source.contains("://") { source.to_owned() } else { format!("http://{source}") };
    let document = api.images.client().fetch(&url).await?;
    let stream = SyncIoBridge::new(Box::pin(StreamReader::new(document.into_stream())));
    api.images.import(stream, import).await
}

/// `POST /images/NAME/push`: without a tag all that are here, as Docker has it.
pub(super) fn push(api: Api, name: &str, params: &Params, peer: Peer, headers: &HeaderMap) -> ApiResult {
    let wanted = reference(name, params.get("tag").filter(|tag| !tag.is_empty()))?;
    if let Some(platform) = platform(params)? {
        api.images.resolve_for(&wanted.clone().or_latest().familiar(), &[platform])?;
    }
    let credentials = credentials(headers);
    let (stream, messages) = MessageStream::new();
    tokio::spawn(async move {
        let push = push_names(&api, wanted, credentials, &stream);
        let result = tokio::select! {
            result = push => result,
            () = stream.abandoned(peer) => return,
        };
        match result {
            Ok(names) => {
                for name in names.iter().map(Reference::familiar) {
                    if let Ok(image) = api.images.resolve(&name) {
                        publish(&api, "push", &image.id, &name);
                    }
                }
            }
            Err(e) => stream.error(e, 0),
        }
    });
    Ok(messages.response())
}

async fn push_names(
    api: &Api,
    wanted: Reference,
    credentials: Credentials,
    stream: &MessageStream,
) -> wharf_model::Result<Vec<Reference>> {
    if wanted.tag().is_none() && wanted.digest().is_none() {
        return api.images.push_all(&wanted, credentials, stream.sink()).await;
    }
    api.images.push(&wanted, credentials, stream.sink()).await?;
    Ok(vec![wanted])
}

/// `POST /images/load`.
pub(crate) async fn load(State(api): State<Api>, params: Params, body: Body) -> ApiResult {
    let platform = platform(&params)?;
    let (stream, messages) = MessageStream::new();
    tokio::spawn(async move {
        match api.images.load(reader(body), platform, stream.sink()).await {
            Ok(images) => images.iter().for_each(|i| publish(&api, "load", &i.id, i.id.as_str())),
            Err(e) => stream.error(e, 0),
        }
    });
    Ok(messages.response())
}

pub(super) fn save(api: Api, names: Vec<String>, params: &Params) -> ApiResult {
    let platforms = platforms(params, "platform")?;
    for name in &names {
        let image = api.images.resolve_for(name, &platforms)?;
        publish(&api, "save", &image.id, image.id.as_str());
    }
    let body = written_body(move |out| api.images.save(&names, out));
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    Ok(response)
}

/// `GET /images/get`.
pub(crate) async fn save_many(State(api): State<Api>, params: Params) -> ApiResult {
    let names: Vec<String> =
        params.all("names").iter().flat_map(|n| n.split(',')).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(ApiError::bad_request("missing parameter: names"));
    }
    save(api, names, &params)
}

/// `POST /images/prune`.
pub(crate) async fn prune(State(api): State<Api>, params: Params) -> ApiResult {
    let filters = params.filters(&["dangling", "label", "label!", "until"])?;
    let all = filters.boolean("dangling")? == Some(false);
    let until = filters.until()?;
    let worker = api.clone();
    let pruned = tokio::task::spawn_blocking(move || {
        let before = worker.images.disk_usage()?;
        let mut removed = Vec::new();
        for listed in worker.images.list() {
            let unnamed = listed.tags.is_empty() && !listed.has_children;
            let wanted = (all || unnamed)
                && filters.labels(&listed.image.config.config.labels)
                && until.is_none_or(|t| super::describe::created_ns(&listed.image) < t);
            if !wanted || in_use(&worker, &listed.image.id).is_some() {
                continue;
            }
            match worker.images.remove(listed.image.id.as_str(), true, &|image| in_use(&worker, image)) {
                Ok(gone) => {
                    super::describe::publish_removed(&worker, &listed.image, &gone);
                    removed.extend(gone);
                }
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
        let reclaimed = before.saturating_sub(worker.images.disk_usage()?);
        crate::events::pruned(&worker, "image", reclaimed);
        Ok((removed, reclaimed))
    });
    let (removed, space_reclaimed) =
        pruned.await.map_err(|e| Error::internal(format!("a worker failed: {e}")))??;
    let images_deleted =
        Some(removed.iter().map(wire_removed).collect()).filter(|list: &Vec<_>| !list.is_empty());
    Ok(Json(PruneResponse { images_deleted, space_reclaimed }).into_response())
}
