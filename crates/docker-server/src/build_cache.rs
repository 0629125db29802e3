//! What `RUN --mount=type=cache` keeps, and directories of clients as they last came, as `system df` lists it and `POST /build/prune` removes it.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::{Filters, Params};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wharf_build::caches::{Caches, Listed};
use wharf_buildkit::{BuildKit, Directory};
use wharf_docker_api::types::system::{BuildCache, BuildPruneResponse};
use wharf_engine::clock;

/// BuildKit's name for such a directory.
const KIND: &str = "exec.cachemount";

/// The filters of BuildKit's records.
const FILTERS: [&str; 13] = [
    "description",
    "id",
    "inuse",
    "label",
    "label!",
    "mutable",
    "parent",
    "private",
    "shared",
    "type",
    "until",
    "unused-for",
    "immutable",
];

/// Every cache. It reads through all of them.
pub(crate) fn list(caches: &Caches, buildkit: &BuildKit) -> ApiResult<Vec<BuildCache>> {
    let directories = buildkit.directories().into_iter().map(directory);
    Ok(caches.list()?.into_iter().map(wire).chain(directories).collect())
}

/// A client's directory as it last came.
fn directory(known: Directory) -> BuildCache {
    BuildCache {
        id: known.id,
        parents: None,
        kind: "source.local".to_owned(),
        description: format!("local source for {}", known.name),
        in_use: false,
        shared: false,
        size: known.size.cast_signed(),
        created_at: clock::rfc3339(known.created_ns),
        last_used_at: Some(clock::rfc3339(known.used_ns)),
        usage_count: known.uses.cast_signed(),
    }
}

fn wire(listed: Listed) -> BuildCache {
    BuildCache {
        id: listed.id,
        parents: None,
        kind: KIND.to_owned(),
        description: description(&listed.about.name),
        in_use: listed.in_use,
        shared: false,
        size: listed.size as i64,
        created_at: clock::rfc3339(listed.about.created_ns),
        last_used_at: Some(clock::rfc3339(listed.about.used_ns)),
        usage_count: listed.about.uses as i64,
    }
}

fn description(name: &str) -> String {
    format!("cached mount {name}")
}

/// What is pruned.
struct Wanted {
    filters: Filters,
    /// Used before that time only.
    until: Option<i128>,
    /// Bytes that may stay.
    keep: u64,
}

impl Wanted {
    fn read(params: &Params) -> ApiResult<Self> {
        let filters = params
            .filters(&FILTERS)
            .map_err(|e| ApiError::bad_request(format!("failed to prune build cache: {}", e.message)))?;
        let (until, unused) = (filters.until()?, filters.time("unused-for")?);
        let keep = ["reserved-space", "keep-storage"].iter().map(|name| params.number(name));
        let keep = keep.collect::<ApiResult<Vec<_>>>()?.into_iter().flatten().next();
        Ok(Self { filters, until: until.or(unused), keep: u64::try_from(keep.unwrap_or(0)).unwrap_or(0) })
    }

    /// Whether nothing is asked but that all goes.
    fn is_plain(&self) -> bool {
        self.keep == 0
            && self.until.is_none()
            && FILTERS.iter().all(|name| self.filters.values(name).is_empty())
    }

    /// Whether a filter lets it go. Only caches there are; what only other records can be never fits.
    fn takes(&self, listed: &Listed) -> bool {
        let filters = &self.filters;
        let is = |name: &str, value: bool| {
            filters.allows(name, |wanted| matches!(wanted.as_str(), "1" | "true" | "") == value)
        };
        self.until.is_none_or(|until| listed.about.used_ns < until)
            && filters.allows("id", |id| listed.id.starts_with(id.as_str()))
            && filters.allows("type", |kind| kind == KIND)
            && filters.allows("description", |text| description(&listed.about.name).contains(text.as_str()))
            && filters.allows("parent", |_| false)
            && filters.values("label").is_empty()
            && is("inuse", listed.in_use)
            && is("shared", false)
            && is("private", true)
            && is("mutable", true)
            && is("immutable", false)
    }
}

/// `POST /build/prune`. Images of steps are removed with the images.
pub(crate) async fn prune(State(api): State<Api>, params: Params) -> ApiResult {
    let wanted = Wanted::read(&params)?;
    let caches = api.builder.caches.clone();
    // What only saves time goes with everything.
    let forgotten = if wanted.is_plain() { api.buildkit.forget() } else { Vec::new() };
    let mut pruned = tokio::task::spawn_blocking(move || remove(&caches, &wanted))
        .await
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))??;
    if !forgotten.is_empty() {
        pruned.space_reclaimed += forgotten.iter().map(|known| known.size).sum::<u64>();
        pruned.caches_deleted.get_or_insert_default().extend(forgotten.into_iter().map(|known| known.id));
    }
    crate::events::pruned(&api, "builder", pruned.space_reclaimed);
    Ok(Json(pruned).into_response())
}

fn remove(caches: &Caches, wanted: &Wanted) -> ApiResult<BuildPruneResponse> {
    let listed = caches.list()?;
    let mut kept: u64 = listed.iter().map(|cache| cache.size).sum();
    let mut pruned = BuildPruneResponse::default();
    let mut deleted = Vec::new();
    // The longest unused first.
    for cache in listed.into_iter().filter(|cache| wanted.takes(cache)) {
        if wanted.keep > 0 && kept <= wanted.keep {
            break;
        }
        if caches.remove(&cache.id)? {
            kept -= cache.size;
            pruned.space_reclaimed += cache.size;
            deleted.push(cache.id);
        }
    }
    pruned.caches_deleted = (!deleted.is_empty()).then_some(deleted);
    Ok(pruned)
}
