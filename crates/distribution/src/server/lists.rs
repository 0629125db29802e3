//! Lists: repositories, tags, referrers.

use super::reply::{self, OCI_FILTERS, Refusal, Reply};
use super::{App, blocking, route};
use http::StatusCode;
use std::sync::Arc;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::media;

/// Entries of a list when the client names no number.
const DEFAULT_PAGE: usize = 1000;
/// Entries of a list whatever the client names.
const MAX_PAGE: usize = 10_000;

/// How many entries a page has and after which one the next begins.
type Next = Option<(usize, String)>;

/// A page: its entries, and the last of them when there are more.
fn page(mut all: Vec<String>, query: Option<&str>) -> Result<(Vec<String>, Next), Refusal> {
    let count = match route::parameter(query, "n") {
        None => DEFAULT_PAGE,
        Some(text) => text.parse::<usize>().map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "PAGINATION_NUMBER_INVALID",
                format!("n={text} is not a number"),
            )
        })?,
    };
    let count = count.min(MAX_PAGE);
    if let Some(last) = route::parameter(query, "last") {
        all.drain(..all.partition_point(|name| *name <= last));
    }
    let more = all.len() > count;
    all.truncate(count);
    let next = all.last().filter(|_| more).map(|last| (count, last.clone()));
    Ok((all, next))
}

fn listed(path: &str, body: &serde_json::Value, next: Next) -> Reply {
    let mut answer = reply::json(StatusCode::OK, body);
    if let Some((count, last)) = next {
        let last = last.replace('/', "%2F");
        reply::set(&mut answer, http::header::LINK, &format!("<{path}?n={count}&last={last}>; rel=\"next\""));
    }
    answer
}

pub(super) async fn catalog(app: Arc<App>, query: Option<&str>) -> Result<Reply, Refusal> {
    let all = blocking(&app, |app| app.store.repositories()).await?;
    let (repositories, next) = page(all, query)?;
    Ok(listed("/v2/_catalog", &serde_json::json!({"repositories": repositories}), next))
}

pub(super) async fn tags(app: Arc<App>, name: String, query: Option<&str>) -> Result<Reply, Refusal> {
    let repository = name.clone();
    let all = blocking(&app, move |app| match app.store.exists(&repository) {
        true => app.store.tags(&repository).map(Some),
        false => Ok(None),
    });
    let all = all.await?.ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            format!("repository {name} is not known to the registry"),
        )
    })?;
    let (tags, next) = page(all, query)?;
    Ok(listed(&format!("/v2/{name}/tags/list"), &serde_json::json!({"name": name, "tags": tags}), next))
}

pub(super) async fn referrers(
    app: Arc<App>,
    name: String,
    digest: Digest,
    query: Option<&str>,
) -> Result<Reply, Refusal> {
    let wanted = route::parameter(query, "artifactType");
    let mut found = blocking(&app, move |app| app.store.referrers(&name, &digest)).await?;
    if wanted.is_some() {
        found.retain(|d| d.artifact_type == wanted);
    }
    let body = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": found});
    let mut answer = reply::bytes(StatusCode::OK, media::OCI_INDEX, body.to_string().into());
    if wanted.is_some() {
        reply::set(&mut answer, OCI_FILTERS, "artifactType");
    }
    Ok(answer)
}
