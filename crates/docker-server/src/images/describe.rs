//! Listing, inspecting, naming and removing images.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::version::Version;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use wharf_docker_api::types::StrSlice;
use wharf_docker_api::types::container::GraphDriver;
use wharf_docker_api::types::image::{
    DeleteResponse, History, ImageConfig, Inspect, Metadata, RootFs, Summary,
};
use wharf_engine::clock::{parse_rfc3339, rfc3339};
use wharf_engine::images::{Image, Listed, Removed, User, glob};
use wharf_model::Error;
use wharf_oci::digest::Digest;
use wharf_oci::reference::Reference;

fn familiar(names: &[Reference]) -> Vec<String> {
    names.iter().map(Reference::familiar).collect()
}

fn seconds(time: Option<&String>) -> i64 {
    (nanoseconds(time) / 1_000_000_000) as i64
}

fn nanoseconds(time: Option<&String>) -> i128 {
    time.and_then(|t| parse_rfc3339(t)).unwrap_or(0)
}

/// When an image was made; without a date, 1970.
pub(super) fn created_ns(image: &Image) -> i128 {
    nanoseconds(image.config.created.as_ref())
}

pub(crate) async fn list(State(api): State<Api>, params: Params, version: Version) -> ApiResult {
    let mut filters =
        params.filters(&["before", "dangling", "label", "label!", "reference", "since", "until"])?;
    // Until 1.40 a name was a parameter of its own.
    if let Some(name) = params.get("filter").filter(|_| version.is_before(41)) {
        filters.add("reference", name);
    }
    let (dangling, until) = (filters.flag("dangling")?, filters.until()?);
    let created = |name: &str| match filters.values(name).first() {
        Some(image) => Ok::<_, ApiError>(Some(seconds(api.images.resolve(image)?.config.created.as_ref()))),
        None => Ok(None),
    };
    let (before, since) = (created("before")?, created("since")?);
    let mut summaries: Vec<Summary> = api
        .images
        .list()
        .iter()
        .filter(|l| params.flag("all") || !l.has_children || !l.tags.is_empty())
        .filter(|l| dangling.is_none_or(|wanted| wanted == l.tags.is_empty()))
        .filter(|l| {
            filters.allows("reference", |pattern| l.tags.iter().any(|t| matches_reference(t, pattern)))
        })
        .filter(|l| filters.labels(&l.image.config.config.labels))
        .filter(|l| until.is_none_or(|t| created_ns(&l.image) < t))
        .map(|l| summary(&api, &narrowed(l, filters.values("reference"))))
        .map(|s| Summary { virtual_size: version.is_before(44).then_some(s.size), ..s })
        .filter(|s| before.is_none_or(|t| s.created < t) && since.is_none_or(|t| s.created > t))
        .collect();
    summaries.sort_by_key(|s| std::cmp::Reverse(s.created));
    Ok(Json(summaries).into_response())
}

/// An image with those of its names that were asked for.
fn narrowed(listed: &Listed, patterns: &[String]) -> Listed {
    let mut listed = listed.clone();
    if !patterns.is_empty() {
        let is_wanted = |name: &Reference| patterns.iter().any(|pattern| matches_reference(name, pattern));
        listed.tags.retain(is_wanted);
        listed.digests.retain(is_wanted);
    }
    listed
}

/// `busybox`, `busybox:1*`, `*/app`: a name or a pattern with `*`.
fn matches_reference(tag: &Reference, pattern: &str) -> bool {
    let full = tag.familiar();
    let name = tag.familiar_name();
    glob(pattern, &full) || glob(pattern, &name)
}

pub(crate) fn summary(api: &Api, listed: &Listed) -> Summary {
    let image = &listed.image;
    let users = api.containers.list().iter().filter(|h| h.record().image == image.id).count();
    Summary {
        containers: users as i64,
        created: seconds(image.config.created.as_ref()),
        id: image.id.to_string(),
        labels: Some(image.config.config.labels.clone()).filter(|l| !l.is_empty()),
        parent_id: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        repo_digests: familiar(&listed.digests),
        repo_tags: familiar(&listed.tags),
        shared_size: -1,
        size: image.size as i64,
        virtual_size: None,
    }
}

pub(super) fn inspect(api: &Api, name: &str, version: Version) -> ApiResult {
    let details = api.images.inspect(name)?;
    let image = &details.image;
    let config = &image.config;
    let last = config.history.last();
    let inspect = Inspect {
        id: image.id.to_string(),
        repo_tags: familiar(&details.tags),
        repo_digests: familiar(&details.digests),
        parent: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        comment: last.and_then(|h| h.comment.clone()).unwrap_or_default(),
        created: config.created.clone().unwrap_or_default(),
        author: config.author.clone().unwrap_or_default(),
        config: Some(container_config(&config.config)),
        architecture: config.platform.architecture.clone(),
        variant: config.platform.variant.clone().unwrap_or_default(),
        os: config.platform.os.clone(),
        size: image.size as i64,
        virtual_size: version.is_before(44).then_some(image.size as i64),
        // Of the container it was made from: Compose 1 looks up an image's volumes there.
        container_config: version.is_before(45).then(|| container_config(&config.config)),
        graph_driver: GraphDriver { data: None, name: api.about.storage.clone() },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: Some(image.layers.iter().map(|l| l.diff_id.to_string()).collect()),
        },
        metadata: Metadata { last_tag_time: rfc3339(image.tagged_ns.into()) },
        ..Inspect::default()
    };
    Ok(Json(inspect).into_response())
}

fn container_config(config: &wharf_oci::image_config::Config) -> ImageConfig {
    let set = |names: &std::collections::BTreeSet<String>| -> Option<BTreeMap<String, Option<_>>> {
        (!names.is_empty()).then(|| names.iter().map(|n| (n.clone(), Some(Default::default()))).collect())
    };
    ImageConfig {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: (!config.env.is_empty()).then(|| config.env.clone()),
        entrypoint: config.entrypoint.clone().map(StrSlice),
        cmd: config.cmd.clone().map(StrSlice),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        labels: (!config.labels.is_empty()).then(|| config.labels.clone()),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        on_build: (!config.on_build.is_empty()).then(|| config.on_build.clone()),
        healthcheck: config.healthcheck.as_ref().map(crate::convert::health_config),
        shell: config.shell.clone().map(StrSlice),
        args_escaped: config.args_escaped,
    }
}

pub(super) fn history(api: &Api, name: &str) -> ApiResult {
    let lines: Vec<History> = api
        .images
        .history(name)?
        .into_iter()
        .map(|l| History {
            comment: l.comment,
            created: seconds(l.created.as_ref()),
            created_by: l.created_by,
            id: l.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
            size: l.size as i64,
            tags: (!l.tags.is_empty()).then(|| familiar(&l.tags)),
        })
        .collect();
    Ok(Json(lines).into_response())
}

/// A reference of two parameters: repository and tag.
pub(crate) fn reference(repository: &str, tag: Option<&str>) -> ApiResult<Reference> {
    let text = match tag {
        Some(tag) if tag.contains(':') => format!("{repository}@{tag}"),
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    };
    text.parse().map_err(|e| ApiError::bad_request(format!("{e}")))
}

pub(super) fn tag(api: &Api, name: &str, params: &Params) -> ApiResult {
    let repository = params.get("repo").ok_or_else(|| ApiError::bad_request("missing parameter: repo"))?;
    let target = reference(repository, params.get("tag"))?;
    let image = api.images.tag(name, &target)?;
    publish(api, "tag", &image.id, &target.or_latest().familiar());
    Ok(StatusCode::CREATED.into_response())
}

pub(crate) fn publish(api: &Api, action: &str, id: &Digest, name: &str) {
    let image = api.images.resolve(id.as_str()).ok();
    tell(api, action, image.as_deref(), id, name);
}

/// An event has the image's labels, as long as there is the image.
fn tell(api: &Api, action: &str, image: Option<&Image>, id: &Digest, name: &str) {
    let mut attributes = image.map(|image| image.config.config.labels.clone()).unwrap_or_default();
    attributes.insert("name".to_owned(), name.to_owned());
    api.events.publish("image", action, id.as_str(), attributes);
}

/// Which container uses an image, a running one first.
pub(super) fn in_use(api: &Api, image: &Digest) -> Option<User> {
    let (id, running) = api.containers.user_of_image(image)?;
    Some(User { container: id.short().to_owned(), running })
}

pub(super) async fn remove(api: Api, name: String, force: bool) -> ApiResult {
    let worker = api.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let image = worker.images.resolve(&name)?;
        let removed = worker.images.remove(&name, force, &|image| in_use(&worker, image))?;
        Ok::<_, Error>((image, removed))
    });
    let (image, removed) = removed.await.map_err(|e| Error::internal(format!("a worker failed: {e}")))??;
    publish_removed(&api, &image, &removed);
    Ok(Json(removed.iter().map(wire_removed).collect::<Vec<_>>()).into_response())
}

/// What went with an image's names.
pub(super) fn publish_removed(api: &Api, image: &Image, removed: &[Removed]) {
    for item in removed {
        match item {
            Removed::Untagged(_) => tell(api, "untag", Some(image), &image.id, image.id.as_str()),
            Removed::Deleted(id) => tell(api, "delete", None, id, id.as_str()),
        }
    }
}

pub(crate) fn wire_removed(removed: &Removed) -> DeleteResponse {
    match removed {
        Removed::Untagged(name) => DeleteResponse { untagged: name.familiar(), ..DeleteResponse::default() },
        Removed::Deleted(id) => DeleteResponse { deleted: id.to_string(), ..DeleteResponse::default() },
    }
}
