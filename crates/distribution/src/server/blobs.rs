//! Blobs and their uploads.

use super::incoming::Request;
use super::reply::{self, CONTENT_DIGEST, Refusal, Reply, UPLOAD_UUID};
use super::request::{Context, is_known};
use super::settings::Action;
use super::uploads::Upload;
use super::wire::Parts;
use super::{App, blocking, contents, filebody, mirrors, route};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE};
use http::{HeaderValue, Method, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wharf_oci::digest::Digest;

pub(super) async fn get(
    context: Context,
    name: String,
    digest: Digest,
    request: &Request,
) -> Result<Reply, Refusal> {
    let asked = *request.method() == Method::HEAD;
    let found = match (look(&context, &name, &digest, asked).await?, mirrors::of(&context.live, &name)) {
        (None, Some(upstream)) if asked => Some((mirrors::blob_size(upstream, &name, &digest).await?, None)),
        (None, Some(_)) => match mirrors::blob(&context.app, &context.live, &name, &digest).await? {
            Some(fetch) => Some((fetch.size, Some(Content::Coming(fetch)))),
            None => look(&context, &name, &digest, asked).await?,
        },
        (found, _) => found,
    };
    let (size, content) = found.ok_or_else(|| Refusal::blob_unknown(&digest))?;
    send(&digest, size, content, request).await
}

/// What is sent of a blob.
enum Content {
    Stored(contents::Content),
    Coming(mirrors::Fetch),
}

/// A blob of a repository: its size, and unless it is only `asked` for, its file.
async fn look(
    context: &Context,
    name: &str,
    digest: &Digest,
    asked: bool,
) -> Result<Option<(u64, Option<Content>)>, Refusal> {
    let (name, wanted) = (name.to_owned(), digest.clone());
    blocking(&context.app, move |app| match app.store.blob(&name, &wanted)? {
        Some(size) if asked => {
            // Who pushes asks first, and does not send what is there: it has to stay until the manifest comes.
            app.store.renew_blob(&name, &wanted)?;
            Ok(Some((size, None)))
        }
        Some(size) => Ok(Some((size, Some(Content::Stored(app.store.blobs.open(&wanted)?))))),
        None => Ok(None),
    })
    .await
}

/// The answer with a blob, or with the part of it that is asked for.
async fn send(
    digest: &Digest,
    size: u64,
    content: Option<Content>,
    request: &Request,
) -> Result<Reply, Refusal> {
    if is_known(request, digest) {
        let mut answer = reply::empty(StatusCode::NOT_MODIFIED);
        reply::set(&mut answer, CONTENT_DIGEST, digest.as_str());
        return Ok(answer);
    }
    let range = request.headers().get(RANGE).and_then(|v| v.to_str().ok());
    let (start, end) = match range.map(|text| parse_range(text, size)) {
        None | Some(Range::Ignored) => (0, size),
        Some(Range::Part(start, end)) => (start, end),
        Some(Range::Unsatisfiable) => {
            let refusal = Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                format!("the blob has {size} bytes"),
            );
            let mut answer = refusal.into_reply();
            reply::set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(answer);
        }
    };
    let mut answer = match content {
        None => reply::empty(StatusCode::OK),
        Some(Content::Coming(fetch)) => Response::new(fetch.part(start, end)),
        Some(Content::Stored(contents::Content::Far(far))) => Response::new(far.part(start, end).await?),
        Some(Content::Stored(contents::Content::File(file))) => {
            let parts = request.extensions().get::<Parts>().cloned();
            Response::new(filebody::body(file, start, end, parts))
        }
    };
    if range.is_some() && (start, end) != (0, size) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        reply::set(&mut answer, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
    }
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    reply::set(&mut answer, CONTENT_DIGEST, digest.as_str());
    reply::set(&mut answer, ETAG, &format!("\"{digest}\""));
    Ok(answer)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// From a byte up to, not with, another.
    Part(u64, u64),
    /// Not one range of bytes: the whole is as good an answer (RFC 9110, 14.2).
    Ignored,
    Unsatisfiable,
}

fn parse_range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Range::Ignored;
    };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last && first < size => {
            Range::Part(first, last.saturating_add(1).min(size))
        }
        (Ok(first), Err(_)) if last.trim().is_empty() && first < size => Range::Part(first, size),
        (Err(_), Ok(count)) if first.trim().is_empty() && count > 0 && size > 0 => {
            Range::Part(size.saturating_sub(count), size)
        }
        (Err(_), Err(_)) => Range::Ignored,
        (Err(_), _) if !first.trim().is_empty() => Range::Ignored,
        (_, Err(_)) if !last.trim().is_empty() => Range::Ignored,
        _ => Range::Unsatisfiable,
    }
}

pub(super) async fn delete(context: Context, name: String, digest: Digest) -> Result<Reply, Refusal> {
    let gone = digest.clone();
    match blocking(&context.app, move |app| app.store.unlink_blob(&name, &gone)).await? {
        true => Ok(reply::empty(StatusCode::ACCEPTED)),
        false => Err(Refusal::blob_unknown(&digest)),
    }
}

fn created(name: &str, digest: &Digest) -> Reply {
    let mut answer = reply::empty(StatusCode::CREATED);
    reply::set(&mut answer, LOCATION, &format!("/v2/{name}/blobs/{digest}"));
    reply::set(&mut answer, CONTENT_DIGEST, digest.as_str());
    answer
}

fn uploading(status: StatusCode, name: &str, id: &str, offset: u64) -> Reply {
    let mut answer = reply::empty(status);
    reply::set(&mut answer, LOCATION, &format!("/v2/{name}/blobs/uploads/{id}"));
    reply::set(&mut answer, RANGE, &format!("0-{}", offset.saturating_sub(1)));
    reply::set(&mut answer, UPLOAD_UUID, id);
    answer
}

fn digest_of(query: Option<&str>) -> Result<Option<Digest>, Refusal> {
    let Some(text) = route::parameter(query, "digest") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Refusal::digest_invalid(format!("invalid digest {text:?}")))
}

/// Takes a blob that another repository has; false when there is none that the user may read.
async fn mount(
    context: &Context,
    name: &str,
    digest: &Digest,
    from: Option<String>,
) -> Result<bool, Refusal> {
    let (target, wanted) = (name.to_owned(), digest.clone());
    let (live, who) = (Arc::clone(&context.live), context.who.clone());
    let quota = live.settings.quota(name);
    blocking(&context.app, move |app| {
        let may = |from: &str| live.access.judge(&who, from, Action::Pull) == super::access::Verdict::Allowed;
        let held = match from {
            Some(from) => {
                wharf_oci::reference::is_path(&from)
                    && may(&from)
                    && app.store.blob(&from, &wanted)?.is_some()
            }
            None => app.store.holder(&wanted, &may)?.is_some(),
        };
        Ok(held && app.store.link_blob(&target, &wanted, quota)?)
    })
    .await
}

/// Begins an upload; or takes a blob from another repository; or takes the whole blob at once.
pub(super) async fn begin(context: Context, name: String, request: Request) -> Result<Reply, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    let query = query.as_deref();
    if let Some(text) = route::parameter(query, "mount") {
        let digest: Digest =
            text.parse().map_err(|_| Refusal::digest_invalid(format!("invalid digest {text:?}")))?;
        let from = route::parameter(query, "from").filter(|from| !from.is_empty());
        if mount(&context, &name, &digest, from).await? {
            return Ok(created(&name, &digest));
        }
    }
    let digest = digest_of(query)?;
    let repository = name.clone();
    let upload = blocking(&context.app, move |app| app.uploads.begin(&repository)).await?;
    let Some(digest) = digest else { return Ok(uploading(StatusCode::ACCEPTED, &name, &upload.id, 0)) };
    match append(&context, &name, &upload, None, Some(&digest), request).await {
        Ok(_) => commit(&context, name, upload, digest).await,
        Err(refusal) => {
            context.app.uploads.cancel(&upload).await?;
            Err(refusal)
        }
    }
}

/// Appends a request's body to an upload. A repository that is full takes no more of it, unless it is to become a
/// blob that is there already.
async fn append(
    context: &Context,
    name: &str,
    upload: &Upload,
    start: Option<u64>,
    digest: Option<&Digest>,
    request: Request,
) -> Result<u64, Refusal> {
    let room = match context.live.settings.quota(name) {
        None => None,
        Some(quota) => {
            let (repository, digest) = (name.to_owned(), digest.cloned());
            let room = blocking(&context.app, move |app| match digest {
                Some(digest) if app.store.blob(&repository, &digest)?.is_some() => Ok(None),
                _ => Ok(Some(quota.saturating_sub(app.store.usage.of(&app.store, &repository)?))),
            });
            room.await?
        }
    };
    let appended = upload.append(start, room, request.into_body(), &context.app.metrics.bytes_in).await;
    if appended.as_ref().is_err_and(|refusal| refusal.status == StatusCode::FORBIDDEN) {
        context.app.uploads.cancel(upload).await?;
    }
    appended
}

/// Verifies an upload and makes it a blob of the repository. Once begun it goes on when the client goes away.
async fn commit(context: &Context, name: String, upload: Upload, digest: Digest) -> Result<Reply, Refusal> {
    let ingest = upload.take().await?;
    let (repository, wanted) = (name.clone(), digest.clone());
    let quota = context.live.settings.quota(&name);
    blocking(&context.app, move |app: &App| {
        let _held = app.store.holds.hold(&wanted);
        let size = ingest.offset();
        let committed = ingest.commit(Some(&wanted));
        app.uploads.end(&upload.id)?;
        committed?;
        app.store.link_blob(&repository, &wanted, quota)?;
        app.metrics.uploads_finished.fetch_add(1, Ordering::Relaxed);
        app.metrics.stored_bytes.fetch_add(size, Ordering::Relaxed);
        app.metrics.stored_blobs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
    .await?;
    Ok(created(&name, &digest))
}

async fn find(context: &Context, name: &str, id: String) -> Result<Upload, Refusal> {
    let repository = name.to_owned();
    let found = blocking(&context.app, move |app| app.uploads.find(&repository, &id)).await?;
    found.ok_or_else(Refusal::upload_unknown)
}

pub(super) async fn status(context: Context, name: String, id: String) -> Result<Reply, Refusal> {
    let upload = find(&context, &name, id).await?;
    let offset = upload.offset().await?;
    Ok(uploading(StatusCode::NO_CONTENT, &name, &upload.id, offset))
}

/// Where a chunk begins: `Content-Range: first-last`, which has to be as long as the body.
fn chunk_start(request: &Request) -> Result<Option<u64>, Refusal> {
    let Some(value) = request.headers().get(CONTENT_RANGE) else { return Ok(None) };
    let bad = || {
        let text = "Content-Range is not first-last";
        Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", text)
    };
    let text = value.to_str().map_err(|_| bad())?;
    let text = text.strip_prefix("bytes ").or_else(|| text.strip_prefix("bytes=")).unwrap_or(text);
    let text = text.split('/').next().unwrap_or_default();
    let (first, last) = text.split_once('-').ok_or_else(bad)?;
    let first: u64 = first.trim().parse().map_err(|_| bad())?;
    let last: u64 = last.trim().parse().map_err(|_| bad())?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    // An empty body has no last byte: clients say first-(first - 1), or 0-0.
    let stated = last.checked_add(1).and_then(|end| end.checked_sub(first)).ok_or_else(bad)?;
    if length.is_some_and(|length| length != stated && length > 0) {
        let text = format!("Content-Range says {stated} bytes and Content-Length another number");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", text));
    }
    Ok(Some(first))
}

/// A refusal of a chunk that says where the upload is.
async fn out_of_place(name: &str, upload: &Upload, refusal: Refusal) -> Result<Reply, Refusal> {
    if refusal.status != StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(refusal);
    }
    let mut answer = refusal.into_reply();
    let there = uploading(StatusCode::ACCEPTED, name, &upload.id, upload.offset().await?);
    for header in [LOCATION, RANGE, UPLOAD_UUID] {
        if let Some(value) = there.headers().get(&header) {
            answer.headers_mut().insert(header, value.clone());
        }
    }
    Ok(answer)
}

pub(super) async fn patch(
    context: Context,
    name: String,
    id: String,
    request: Request,
) -> Result<Reply, Refusal> {
    let upload = find(&context, &name, id).await?;
    let appended = match chunk_start(&request) {
        Ok(start) => append(&context, &name, &upload, start, None, request).await,
        Err(refusal) => Err(refusal),
    };
    match appended {
        Ok(offset) => Ok(uploading(StatusCode::ACCEPTED, &name, &upload.id, offset)),
        Err(refusal) => out_of_place(&name, &upload, refusal).await,
    }
}

pub(super) async fn finish(
    context: Context,
    name: String,
    id: String,
    request: Request,
) -> Result<Reply, Refusal> {
    let digest = digest_of(request.uri().query())?
        .ok_or_else(|| Refusal::digest_invalid("the digest of the whole blob is missing: add ?digest="))?;
    let upload = find(&context, &name, id).await?;
    let appended = match chunk_start(&request) {
        Ok(start) => append(&context, &name, &upload, start, Some(&digest), request).await,
        Err(refusal) => Err(refusal),
    };
    match appended {
        Ok(_) => commit(&context, name, upload, digest).await,
        Err(refusal) => out_of_place(&name, &upload, refusal).await,
    }
}

pub(super) async fn cancel(context: Context, name: String, id: String) -> Result<Reply, Refusal> {
    let upload = find(&context, &name, id).await?;
    context.app.uploads.cancel(&upload).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse_range("bytes=0-3", 10), Range::Part(0, 4));
        assert_eq!(parse_range("bytes=5-", 10), Range::Part(5, 10));
        assert_eq!(parse_range("bytes=5-99", 10), Range::Part(5, 10));
        assert_eq!(parse_range("bytes=-3", 10), Range::Part(7, 10));
        assert_eq!(parse_range("bytes=10-", 10), Range::Unsatisfiable);
        assert_eq!(parse_range("bytes=-0", 10), Range::Unsatisfiable);
        assert_eq!(
            parse_range("bytes=3-1", 10),
            Range::Unsatisfiable,
            "as registries do; RFC 9110 would ignore it"
        );
        assert_eq!(parse_range("bytes=0-1,3-4", 10), Range::Ignored);
        assert_eq!(parse_range("lines=1-2", 10), Range::Ignored);
    }
}
