//! Blobs and their uploads.

use super::reply::{self, CONTENT_DIGEST, Refusal, Reply, UPLOAD_UUID};
use super::uploads::Upload;
use super::{App, blocking, route};
use futures_util::TryStreamExt;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use wharf_oci::digest::Digest;

/// Bytes read from the disk at once.
const CHUNK: usize = 1 << 18;

pub(super) async fn get(
    app: Arc<App>,
    name: String,
    digest: Digest,
    request: &Request<Incoming>,
) -> Result<Reply, Refusal> {
    let wanted = digest.clone();
    let found = blocking(&app, move |app| match app.store.blob(&name, &wanted)? {
        Some(size) => Ok(Some((size, app.store.blobs.open(&wanted)?))),
        None => Ok(None),
    });
    let (size, file) = found.await?.ok_or_else(|| Refusal::blob_unknown(&digest))?;
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
    let mut file = tokio::fs::File::from_std(file);
    if start > 0 {
        file.seek(std::io::SeekFrom::Start(start)).await.map_err(|e| {
            wharf_model::Error::wrap(wharf_model::ErrorKind::Internal, format!("read blob {digest}"), e)
        })?;
    }
    let stream = tokio_util::io::ReaderStream::with_capacity(file.take(end - start), CHUNK);
    let mut answer = Response::new(StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync());
    if range.is_some() && (start, end) != (0, size) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        reply::set(&mut answer, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
    }
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    reply::set(&mut answer, CONTENT_DIGEST, digest.as_str());
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
        (Ok(first), Ok(last)) if first > last => Range::Ignored,
        (Err(_), Err(_)) => Range::Ignored,
        (Err(_), _) if !first.trim().is_empty() => Range::Ignored,
        (_, Err(_)) if !last.trim().is_empty() => Range::Ignored,
        _ => Range::Unsatisfiable,
    }
}

pub(super) async fn delete(app: Arc<App>, name: String, digest: Digest) -> Result<Reply, Refusal> {
    let gone = digest.clone();
    match blocking(&app, move |app| app.store.unlink_blob(&name, &gone)).await? {
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

/// Begins an upload; or takes a blob from another repository; or takes the whole blob at once.
pub(super) async fn begin(app: Arc<App>, name: String, request: Request<Incoming>) -> Result<Reply, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    let query = query.as_deref();
    if let Some(text) = route::parameter(query, "mount") {
        let digest: Digest =
            text.parse().map_err(|_| Refusal::digest_invalid(format!("invalid digest {text:?}")))?;
        let from = route::parameter(query, "from").filter(|from| wharf_oci::reference::is_path(from));
        let (target, wanted) = (name.clone(), digest.clone());
        let mounted = blocking(&app, move |app| match from {
            Some(from) if app.store.blob(&from, &wanted)?.is_some() => {
                app.store.link_blob(&target, &wanted).map(|()| true)
            }
            _ => Ok(false),
        });
        if mounted.await? {
            return Ok(created(&name, &digest));
        }
    }
    let digest = digest_of(query)?;
    let repository = name.clone();
    let upload = blocking(&app, move |app| app.uploads.begin(&repository)).await?;
    let Some(digest) = digest else { return Ok(uploading(StatusCode::ACCEPTED, &name, &upload.id, 0)) };
    match upload.append(None, request.into_body()).await {
        Ok(_) => commit(app, name, upload, digest).await,
        Err(refusal) => {
            app.uploads.cancel(&upload).await?;
            Err(refusal)
        }
    }
}

async fn commit(app: Arc<App>, name: String, upload: Upload, digest: Digest) -> Result<Reply, Refusal> {
    app.uploads.finish(&upload, digest.clone()).await?;
    let (repository, wanted) = (name.clone(), digest.clone());
    blocking(&app, move |app| app.store.link_blob(&repository, &wanted)).await?;
    Ok(created(&name, &digest))
}

async fn find(app: &Arc<App>, name: &str, id: String) -> Result<Upload, Refusal> {
    let repository = name.to_owned();
    let found = blocking(app, move |app| app.uploads.find(&repository, &id)).await?;
    found.ok_or_else(Refusal::upload_unknown)
}

pub(super) async fn status(app: Arc<App>, name: String, id: String) -> Result<Reply, Refusal> {
    let upload = find(&app, &name, id).await?;
    let offset = upload.offset().await?;
    Ok(uploading(StatusCode::NO_CONTENT, &name, &upload.id, offset))
}

/// Where a chunk begins: `Content-Range: first-last`.
fn chunk_start(request: &Request<Incoming>) -> Result<Option<u64>, Refusal> {
    let Some(value) = request.headers().get(CONTENT_RANGE) else { return Ok(None) };
    let bad = || {
        Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            "Content-Range is not first-last",
        )
    };
    let text = value.to_str().map_err(|_| bad())?;
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let (first, _) = text.split_once('-').ok_or_else(bad)?;
    first.trim().parse().map(Some).map_err(|_| bad())
}

pub(super) async fn patch(
    app: Arc<App>,
    name: String,
    id: String,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let start = chunk_start(&request)?;
    let upload = find(&app, &name, id).await?;
    match upload.append(start, request.into_body()).await {
        Ok(offset) => Ok(uploading(StatusCode::ACCEPTED, &name, &upload.id, offset)),
        Err(refusal) if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE => {
            let mut answer = refusal.into_reply();
            let there = uploading(StatusCode::ACCEPTED, &name, &upload.id, upload.offset().await?);
            for header in [LOCATION, RANGE, UPLOAD_UUID] {
                if let Some(value) = there.headers().get(&header) {
                    answer.headers_mut().insert(header, value.clone());
                }
            }
            Ok(answer)
        }
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn finish(
    app: Arc<App>,
    name: String,
    id: String,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let start = chunk_start(&request)?;
    let digest = digest_of(request.uri().query())?
        .ok_or_else(|| Refusal::digest_invalid("the digest of the whole blob is missing: add ?digest="))?;
    let upload = find(&app, &name, id).await?;
    upload.append(start, request.into_body()).await?;
    commit(app, name, upload, digest).await
}

pub(super) async fn cancel(app: Arc<App>, name: String, id: String) -> Result<Reply, Refusal> {
    let upload = find(&app, &name, id).await?;
    app.uploads.cancel(&upload).await?;
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
        assert_eq!(parse_range("bytes=3-1", 10), Range::Ignored);
        assert_eq!(parse_range("bytes=0-1,3-4", 10), Range::Ignored);
        assert_eq!(parse_range("lines=1-2", 10), Range::Ignored);
    }
}
