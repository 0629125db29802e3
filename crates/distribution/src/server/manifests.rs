//! Manifests: get, put, delete.

use super::reply::{self, CONTENT_DIGEST, OCI_SUBJECT, Refusal, Reply};
use super::route::Selector;
use super::store::Stored;
use super::{App, blocking};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::sync::Arc;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document, MAX_MANIFEST_SIZE, media};

pub(super) async fn get(app: Arc<App>, name: String, selector: Selector) -> Result<Reply, Refusal> {
    let stored = match app.store.cached(&name, &selector) {
        Some(stored) => stored,
        None => {
            let wanted = selector.clone();
            let found = blocking(&app, move |app| app.store.manifest(&name, &wanted)).await?;
            found.ok_or_else(|| Refusal::manifest_unknown(selector.as_str()))?
        }
    };
    let mut answer = reply::bytes(StatusCode::OK, &stored.media_type, stored.body.clone());
    reply::set(&mut answer, CONTENT_DIGEST, stored.digest.as_str());
    reply::set(&mut answer, ETAG, &format!("\"{}\"", stored.digest));
    Ok(answer)
}

pub(super) async fn put(
    app: Arc<App>,
    name: String,
    selector: Selector,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let limit = usize::try_from(MAX_MANIFEST_SIZE).unwrap_or(usize::MAX);
    let body = Limited::new(request.into_body(), limit).collect().await.map_err(|e| {
        if e.is::<http_body_util::LengthLimitError>() {
            let text = format!("a manifest has at most {limit} bytes");
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", text);
        }
        Refusal::manifest_invalid(format!("the body broke off: {e}"))
    })?;
    let body = body.to_bytes();
    let document = Document::parse(&body, content_type.as_deref()).map_err(|e| {
        Refusal::manifest_invalid(
            wharf_model::Error::wrap(wharf_model::ErrorKind::Invalid, "refuse the manifest", e).full(),
        )
    })?;
    if let Some(stated) = &content_type
        && stated.split(';').next().unwrap_or_default().trim() != document.media_type()
        && media::ACCEPTED.contains(&stated.as_str())
    {
        let text = format!("the manifest is a {} and was sent as {stated}", document.media_type());
        return Err(Refusal::manifest_invalid(text));
    }
    let digest = match &selector {
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
    let subject = document.subject().map(|s| s.digest.clone());
    let tag = match selector {
        Selector::Tag(tag) => Some(tag),
        Selector::Digest(_) => None,
    };
    let location = format!("/v2/{name}/manifests/{digest}");
    let stored = Stored { digest: digest.clone(), media_type: document.media_type().to_owned(), body };
    blocking(&app, move |app| Ok(store(app, &name, tag.as_deref(), &stored, &document))).await??;
    let mut answer = reply::empty(StatusCode::CREATED);
    reply::set(&mut answer, LOCATION, &location);
    reply::set(&mut answer, CONTENT_DIGEST, digest.as_str());
    if let Some(subject) = subject {
        reply::set(&mut answer, OCI_SUBJECT, subject.as_str());
    }
    Ok(answer)
}

fn hash_like(digest: &Digest, body: &Bytes) -> Digest {
    if digest.algorithm() == "sha512" { Digest::sha512(body) } else { Digest::sha256(body) }
}

/// An image's blobs have to be there before it. An index may name manifests that are not: not every platform
/// has to be in every registry.
fn store(
    app: &App,
    name: &str,
    tag: Option<&str>,
    stored: &Stored,
    document: &Document,
) -> Result<(), Refusal> {
    if let Document::Manifest(manifest) = document {
        let layers = manifest.layers.iter().filter(|layer| layer.urls.is_empty());
        for blob in std::iter::once(&manifest.config).chain(layers) {
            if app.store.blob(name, &blob.digest)?.is_none() {
                let text =
                    format!("the manifest names the blob {}, which is not in this repository", blob.digest);
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", text));
            }
        }
    }
    let subject = document.subject().map(|subject| (&subject.digest, descriptor(stored, document)));
    let subject = subject.as_ref().map(|(digest, descriptor)| (*digest, descriptor));
    Ok(app.store.put_manifest(name, tag, stored, subject)?)
}

/// How a list of referrers shows a manifest.
fn descriptor(stored: &Stored, document: &Document) -> Descriptor {
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

pub(super) async fn delete(app: Arc<App>, name: String, selector: Selector) -> Result<Reply, Refusal> {
    let shown = selector.as_str().to_owned();
    match blocking(&app, move |app| app.store.delete_manifest(&name, &selector)).await? {
        true => Ok(reply::empty(StatusCode::ACCEPTED)),
        false => Err(Refusal::manifest_unknown(&shown)),
    }
}
