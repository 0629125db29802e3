//! Manifests: get, put, delete.

use super::incoming::Request;
use super::live::Live;
use super::reply::{self, CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, Refusal, Reply};
use super::request::{Context, is_known, tag_of};
use super::route::{Selector, parameters};
use super::store::Stored;
use super::{App, blocking, mirrors, signatures};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http_body_util::{BodyExt, Limited};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document, MAX_MANIFEST_SIZE, media};
use wharf_oci::reference;
use wharf_signing::policy::At;

/// Tags that one push may set.
const MAX_TAGS: usize = 100;

pub(super) async fn get(
    context: Context,
    name: String,
    selector: Selector,
    request: &Request,
) -> Result<Reply, Refusal> {
    let app = &context.app;
    let repository = name.clone();
    if let Some(upstream) = mirrors::of(&context.live, &name) {
        mirrors::manifest(app, upstream, &name, &selector).await?;
    }
    let stored = match app.store.cached(&name, &selector) {
        Some(stored) => stored,
        None => {
            let wanted = selector.clone();
            let found = blocking(app, move |app| app.store.manifest(&name, &wanted)).await?;
            found.ok_or_else(|| Refusal::manifest_unknown(selector.as_str()))?
        }
    };
    if let Selector::Tag(tag) = &selector
        && signatures::wanted(&context.live, &repository, tag, At::Pull)?
    {
        signed(&context, repository, tag.clone(), stored.digest.clone()).await?;
    }
    let mut answer = match is_known(request, &stored.digest) {
        true => reply::empty(StatusCode::NOT_MODIFIED),
        false => reply::bytes(StatusCode::OK, &stored.media_type, stored.body.clone()),
    };
    reply::set(&mut answer, CONTENT_DIGEST, stored.digest.as_str());
    reply::set(&mut answer, ETAG, &format!("\"{}\"", stored.digest));
    Ok(answer)
}

/// Refuses to give out an image by a tag that has to be signed and is not. Those of another registry come first.
async fn signed(context: &Context, name: String, tag: String, digest: Digest) -> Result<(), Refusal> {
    if mirrors::of(&context.live, &name).is_some() {
        mirrors::signatures(&context.app, &context.live, &name, &digest).await?;
    }
    let live = Arc::clone(&context.live);
    blocking(&context.app, move |app| signatures::judge(app, &live, &name, &tag, &digest, At::Pull)).await
}

async fn body_of(request: Request) -> Result<Bytes, Refusal> {
    let limit = usize::try_from(MAX_MANIFEST_SIZE).unwrap_or(usize::MAX);
    let body = Limited::new(request.into_body(), limit).collect().await.map_err(|e| {
        if e.is::<http_body_util::LengthLimitError>() {
            let text = format!("a manifest has at most {limit} bytes");
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", text);
        }
        Refusal::manifest_invalid(format!("the body broke off: {e}"))
    })?;
    Ok(body.to_bytes())
}

/// A manifest as it is to be stored, with what it says, and the tags it gets.
fn checked(
    selector: &Selector,
    query: Option<&str>,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<(Stored, Document, Vec<String>), Refusal> {
    let document = Document::parse(&body, content_type).map_err(|e| {
        Refusal::manifest_invalid(
            wharf_model::Error::wrap(wharf_model::ErrorKind::Invalid, "refuse the manifest", e).full(),
        )
    })?;
    let stated = content_type.map(|t| t.split(';').next().unwrap_or_default().trim());
    if let Some(stated) = stated.filter(|s| *s != document.media_type() && media::ACCEPTED.contains(s)) {
        let text = format!("the manifest is a {} and was sent as {stated}", document.media_type());
        return Err(Refusal::manifest_invalid(text));
    }
    let digest = match selector {
        Selector::Digest(digest) => {
            let real = hash_like(digest, &body);
            if real != *digest {
                return Err(Refusal::digest_invalid(format!(
                    "the manifest has the digest {real}, not {digest}"
                )));
            }
            real
        }
        Selector::Tag(_) => Digest::sha256(&body),
    };
    let mut tags: Vec<String> = tag_of(selector).map(str::to_owned).into_iter().collect();
    tags.extend(parameters(query, "tag"));
    if let Some(bad) = tags.iter().find(|tag| !reference::is_tag(tag)) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "TAG_INVALID", format!("invalid tag {bad:?}")));
    }
    if tags.len() > MAX_TAGS {
        let text = format!("more than {MAX_TAGS} tags at once");
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "TAG_INVALID", text));
    }
    let stored = Stored { digest, media_type: document.media_type().to_owned(), body };
    Ok((stored, document, tags))
}

pub(super) async fn put(
    context: Context,
    name: String,
    selector: Selector,
    request: Request,
) -> Result<Reply, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let query = request.uri().query().map(str::to_owned);
    let body = body_of(request).await?;
    context.app.metrics.bytes_in.fetch_add(body.len() as u64, Ordering::Relaxed);
    let (stored, document, tags) = checked(&selector, query.as_deref(), content_type.as_deref(), body)?;
    let (digest, subject) = (stored.digest.clone(), document.subject().map(|s| s.digest.clone()));
    let location = format!("/v2/{name}/manifests/{digest}");
    let (live, set) = (context.live, tags.clone());
    let references = match tags.is_empty() {
        true => vec![digest.to_string()],
        false => tags.clone(),
    };
    blocking(&context.app, move |app| {
        let unsigned = unsigned(app, &live, &name, &set, &stored.digest)?;
        let set = if unsigned.is_some() { Vec::new() } else { set };
        if let Err(refusal) = store(app, &live.settings, &name, &set, &stored, &document) {
            return Ok(Err(refusal));
        }
        if let Some(refusal) = unsigned {
            return Ok(Err(refusal));
        }
        app.notes.add(&live, &name, &references)?;
        Ok(Ok(()))
    })
    .await??;
    let mut answer = reply::empty(StatusCode::CREATED);
    reply::set(&mut answer, LOCATION, &location);
    reply::set(&mut answer, CONTENT_DIGEST, digest.as_str());
    if let Some(subject) = subject {
        reply::set(&mut answer, OCI_SUBJECT, subject.as_str());
    }
    if tag_of(&selector).is_none() && !tags.is_empty() {
        reply::set(&mut answer, OCI_TAG, &tags.join(", "));
    }
    Ok(answer)
}

/// Why an image may not have the tags that it is pushed with, if it may not. Where nothing may be, nothing is kept.
fn unsigned(
    app: &App,
    live: &Live,
    name: &str,
    tags: &[String],
    digest: &Digest,
) -> wharf_model::Result<Option<Refusal>> {
    // Where all is rejected, what has no tag is, too.
    live.signatures.wants(name, At::Push)?;
    for tag in tags {
        if signatures::wanted(live, name, tag, At::Push)?
            && let Err(error) = signatures::judge(app, live, name, tag, digest, At::Push)
        {
            return match error.kind() {
                wharf_model::ErrorKind::Forbidden => Ok(Some(error.into())),
                _ => Err(error),
            };
        }
    }
    Ok(None)
}

/// The digest of some content, under the algorithm of another.
pub(super) fn hash_like(digest: &Digest, body: &[u8]) -> Digest {
    if digest.algorithm() == "sha512" { Digest::sha512(body) } else { Digest::sha256(body) }
}

/// An image's blobs have to be there before it. An index may name manifests that are not: not every platform
/// has to be in every registry.
fn store(
    app: &App,
    settings: &super::settings::Settings,
    name: &str,
    tags: &[String],
    stored: &Stored,
    document: &Document,
) -> Result<(), Refusal> {
    let subject = document.subject().map(|subject| (&subject.digest, descriptor(stored, document)));
    let subject = subject.as_ref().map(|(digest, descriptor)| (*digest, descriptor));
    app.store.put_manifest(name, tags, stored, subject, || {
        if let Document::Manifest(manifest) = document
            && !settings.allow_missing_blobs
        {
            let layers = manifest.layers.iter().filter(|layer| !is_elsewhere(layer));
            for blob in std::iter::once(&manifest.config).chain(layers) {
                if app.store.blob(name, &blob.digest)?.is_none() {
                    let text = format!(
                        "the manifest names the blob {}, which is not in this repository",
                        blob.digest
                    );
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", text));
                }
            }
        }
        for tag in tags.iter().filter(|tag| settings.is_immutable(name, tag)) {
            let there = app.store.resolve(name, &Selector::Tag(tag.clone()))?;
            if there.is_some_and(|there| there != stored.digest) {
                return Err(Refusal::denied(format!("the tag {tag} is immutable: push under another")));
            }
        }
        if let Some(quota) = settings.quota(name)
            && app.store.blob(name, &stored.digest)?.is_none()
        {
            app.store.usage.allow(&app.store, name, stored.body.len() as u64, quota)?;
        }
        Ok(())
    })
}

/// Whether a layer need not be in the registry.
fn is_elsewhere(layer: &Descriptor) -> bool {
    !layer.urls.is_empty()
        || layer.media_type.starts_with(media::OCI_LAYER_NONDISTRIBUTABLE)
        || layer.media_type == media::DOCKER_LAYER_FOREIGN
}

/// How a list of referrers shows a manifest.
pub(super) fn descriptor(stored: &Stored, document: &Document) -> Descriptor {
    let mut descriptor =
        Descriptor::new(stored.media_type.clone(), stored.digest.clone(), stored.body.len() as u64);
    let (artifact_type, annotations) = match document {
        Document::Manifest(m) => {
            (m.artifact_type.clone().or_else(|| Some(m.config.media_type.clone())), m.annotations.clone())
        }
        Document::Index(i) => (i.artifact_type.clone(), i.annotations.clone()),
    };
    descriptor.artifact_type = artifact_type;
    descriptor.annotations = annotations;
    descriptor
}

pub(super) async fn delete(context: Context, name: String, selector: Selector) -> Result<Reply, Refusal> {
    let shown = selector.as_str().to_owned();
    let live = context.live;
    let removed = blocking(&context.app, move |app| {
        let tags = match &selector {
            _ if live.settings.immutable.is_empty() => Vec::new(),
            Selector::Tag(tag) => vec![tag.clone()],
            Selector::Digest(digest) => app.store.tags_of(&name, digest)?,
        };
        if let Some(tag) = tags.iter().find(|tag| live.settings.is_immutable(&name, tag)) {
            let text = format!("the tag {tag} is immutable: it cannot be deleted");
            return Err(wharf_model::Error::new(wharf_model::ErrorKind::Forbidden, text));
        }
        let removed = app.store.delete_manifest(&name, &selector)?;
        if removed {
            app.notes.add_deleted(&live, &name, &[selector.as_str().to_owned()])?;
        }
        Ok(removed)
    });
    match removed.await? {
        true => Ok(reply::empty(StatusCode::ACCEPTED)),
        false => Err(Refusal::manifest_unknown(&shown)),
    }
}
