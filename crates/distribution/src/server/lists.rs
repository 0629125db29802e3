//! Lists: repositories, tags, referrers.

use super::entries::Folder;
use super::reply::{self, OCI_FILTERS, Refusal, Reply};
use super::request::Context;
use super::settings::Action;
use super::{App, blocking, route};
use http::StatusCode;
use std::sync::Arc;
use wharf_model::Result as ModelResult;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{MAX_MANIFEST_SIZE, media};

/// Entries of a list when the client names no number.
const DEFAULT_PAGE: usize = 1000;
/// Entries of a list whatever the client names.
const MAX_PAGE: usize = 10_000;

/// How many entries a client wants, and after which.
fn wanted(query: Option<&str>) -> Result<(usize, Option<String>), Refusal> {
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
    Ok((count.min(MAX_PAGE), route::parameter(query, "last")))
}

/// One entry more than wanted tells whether there is a next page, which begins after the last of this one.
fn cut(mut names: Vec<String>, count: usize) -> (Vec<String>, Option<String>) {
    let more = names.len() > count;
    names.truncate(count);
    let next = names.last().filter(|_| more).cloned();
    (names, next)
}

fn listed(path: &str, body: &serde_json::Value, count: usize, next: Option<String>) -> Reply {
    let mut answer = reply::json(StatusCode::OK, body);
    if let Some(last) = next {
        let last = last.replace('/', "%2F");
        reply::set(&mut answer, http::header::LINK, &format!("<{path}?n={count}&last={last}>; rel=\"next\""));
    }
    answer
}

/// The first `count` repositories after one that somebody may pull from, and where the next page begins.
pub(super) fn readable(
    app: &App,
    context: &Context,
    mut after: Option<String>,
    count: usize,
) -> ModelResult<(Vec<String>, Option<String>)> {
    let mut found = Vec::new();
    while found.len() <= count && count > 0 {
        let page = app.store.entries.page(Folder::Catalog, after.as_deref(), count + 1)?;
        let Some(last) = page.last().cloned() else { break };
        after = Some(last);
        // A token is for some repositories; what its bearer may list the rules say.
        let rules = |name: &String| {
            context.who.foreign
                || context.live.access.rules_allow(context.who.user.as_deref(), name, Action::Pull)
        };
        found.extend(page.into_iter().filter(rules));
    }
    Ok(cut(found, count))
}

pub(super) async fn catalog(context: Context, query: Option<&str>) -> Result<Reply, Refusal> {
    let (count, last) = wanted(query)?;
    let app = Arc::clone(&context.app);
    let (repositories, next) = blocking(&app, move |app| readable(app, &context, last, count)).await?;
    Ok(listed("/v2/_catalog", &serde_json::json!({"repositories": repositories}), count, next))
}

pub(super) async fn tags(context: Context, name: String, query: Option<&str>) -> Result<Reply, Refusal> {
    let (count, last) = wanted(query)?;
    let repository = name.clone();
    let found = blocking(&context.app, move |app| match app.store.exists(&repository)? {
        true => app.store.entries.page(Folder::Tags(&repository), last.as_deref(), count + 1).map(Some),
        false => Ok(None),
    });
    let found = found.await?.ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            format!("repository {name} is not known to the registry"),
        )
    })?;
    let (tags, next) = cut(found, count);
    Ok(listed(
        &format!("/v2/{name}/tags/list"),
        &serde_json::json!({"name": name, "tags": tags}),
        count,
        next,
    ))
}

pub(super) async fn referrers(
    context: Context,
    name: String,
    digest: Digest,
    query: Option<&str>,
) -> Result<Reply, Refusal> {
    let wanted = route::parameter(query, "artifactType").filter(|wanted| !wanted.is_empty());
    let after = route::parameter(query, "last");
    let subject = digest.clone();
    let repository = name.clone();
    let mut found = blocking(&context.app, move |app| app.store.referrers(&repository, &subject)).await?;
    if wanted.is_some() {
        found.retain(|d| d.artifact_type == wanted);
    }
    if let Some(after) = after {
        found.retain(|d| *d.digest.as_str() > *after);
    }
    // An answer is an index, and so no larger than one.
    let limit = usize::try_from(MAX_MANIFEST_SIZE).unwrap_or(usize::MAX) - 1024;
    let mut size = 0;
    let fitting = found.iter().take_while(|d| {
        size += serde_json::to_string(d).map_or(0, |text| text.len() + 1);
        size <= limit
    });
    let fitting = fitting.count();
    let next = found.get(fitting).and(fitting.checked_sub(1)).map(|last| found[last].digest.clone());
    found.truncate(fitting);
    let body = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": found});
    let mut answer = reply::bytes(StatusCode::OK, media::OCI_INDEX, body.to_string().into());
    if let Some(last) = next {
        let filter = wanted.as_deref().map(|w| format!("&artifactType={}", encode(w))).unwrap_or_default();
        let link = format!("</v2/{name}/referrers/{digest}?last={last}{filter}>; rel=\"next\"");
        reply::set(&mut answer, http::header::LINK, &link);
    }
    if wanted.is_some() {
        reply::set(&mut answer, OCI_FILTERS, "artifactType");
    }
    Ok(answer)
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
