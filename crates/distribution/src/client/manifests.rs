//! Manifests of a repository.

use super::Repository;
use super::answer::collect;
use super::send::bytes_body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document, MAX_MANIFEST_SIZE, media};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest as a registry gave it, verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The digest of the bytes.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// The bytes.
    pub body: Bytes,
    /// The bytes, parsed.
    pub document: Document,
}

fn accept() -> HeaderValue {
    HeaderValue::from_str(&media::ACCEPTED.join(", ")).unwrap_or(HeaderValue::from_static("*/*"))
}

impl Repository {
    /// A manifest or index by tag or digest, from a mirror that has it or else from the registry. What has another digest
    /// than was asked for is `Invalid`.
    pub async fn manifest(&self, selector: &str) -> Result<Fetched> {
        for mirror in self.mirrors() {
            match mirror.own_manifest(selector).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => mirror.disappoints(&error),
            }
        }
        self.own_manifest(selector).await
    }

    async fn own_manifest(&self, selector: &str) -> Result<Fetched> {
        let mut call = self.call(Method::GET, &format!("manifests/{selector}"), "pull");
        call.headers.insert(ACCEPT, accept());
        let response = self.send(&call).await?;
        if response.status() != StatusCode::OK {
            return Err(self
                .failure(response, &format!("get the manifest of {}:{selector}", self.name()))
                .await);
        }
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let stated =
            response.headers().get(CONTENT_DIGEST).and_then(|v| v.to_str().ok()?.parse::<Digest>().ok());
        let name = format!("{}:{selector}", self.name());
        let limit = usize::try_from(MAX_MANIFEST_SIZE).unwrap_or(usize::MAX);
        let body = collect(response, limit, self.client.silence)
            .await
            .map_err(|e| Error::wrap(e.kind(), format!("get the manifest of {name}"), e))?;
        let expected = selector.parse::<Digest>().ok().or(stated);
        let digest = match &expected {
            Some(expected) if expected.algorithm() == "sha512" => Digest::sha512(&body),
            _ => Digest::sha256(&body),
        };
        if let Some(expected) = expected.filter(|e| *e != digest) {
            return Err(wharf_model::blobs::mismatch(&expected, &digest));
        }
        let document = Document::parse(&body, content_type.as_deref()).map_err(|e| {
            let kind = match e {
                wharf_oci::manifest::ManifestError::Schema1 => ErrorKind::Unsupported,
                _ => ErrorKind::Invalid,
            };
            let stated =
                content_type.as_deref().filter(|t| !t.contains("json")).map_or_else(String::new, |t| {
                    format!(" (the registry, or something between, answered with {t:?})")
                });
            Error::wrap(kind, format!("read the manifest of {name}{stated}"), e)
        })?;
        Ok(Fetched { digest, media_type: document.media_type().to_owned(), body, document })
    }

    /// What a tag or digest names, without its content; `None` when there is none.
    pub async fn head_manifest(&self, selector: &str) -> Result<Option<Descriptor>> {
        let mut call = self.call(Method::HEAD, &format!("manifests/{selector}"), "pull");
        call.headers.insert(ACCEPT, accept());
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.failure(response, &format!("look for {}:{selector}", self.name())).await),
        }
        let text = |name: HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
        let digest = text(CONTENT_DIGEST).and_then(|d| d.parse::<Digest>().ok());
        let size = text(CONTENT_LENGTH).and_then(|l| l.parse().ok());
        match (digest, size) {
            (Some(digest), Some(size)) => {
                let media_type = text(CONTENT_TYPE).unwrap_or(media::OCI_MANIFEST);
                Ok(Some(Descriptor::new(media_type, digest, size)))
            }
            // An old registry: only the content itself tells.
            _ => {
                let fetched = self.manifest(selector).await?;
                Ok(Some(Descriptor::new(fetched.media_type, fetched.digest, fetched.body.len() as u64)))
            }
        }
    }

    /// Puts a manifest under a tag or its digest; returns the digest.
    pub async fn put_manifest(&self, selector: &str, media_type: &str, body: Bytes) -> Result<Digest> {
        let digest = Digest::sha256(&body);
        let make = || bytes_body(&body);
        let mut call = self.call(Method::PUT, &format!("manifests/{selector}"), "pull,push");
        let value = HeaderValue::from_str(media_type)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("use the media type {media_type:?}"), e))?;
        call.headers.insert(CONTENT_TYPE, value);
        call.body = &make;
        let response = self.send(&call).await?;
        if !response.status().is_success() {
            return Err(self
                .failure(response, &format!("put the manifest of {}:{selector}", self.name()))
                .await);
        }
        Ok(digest)
    }

    /// Removes a tag, or a manifest by its digest.
    pub async fn delete_manifest(&self, selector: &str) -> Result<()> {
        let call = self.call(Method::DELETE, &format!("manifests/{selector}"), "pull,push,delete");
        let response = self.send(&call).await?;
        if !response.status().is_success() {
            return Err(self.failure(response, &format!("delete {}:{selector}", self.name())).await);
        }
        Ok(())
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }
}
