//! Signatures of an image, where cosign has them: under a tag, and among the referrers.

use super::Repository;
use super::answer::collect;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document, Index, MAX_MANIFEST_SIZE, Manifest, media};
use wharf_signing::check::Found;
use wharf_signing::format::{
    Holds, MAX_BUNDLE, MAX_SIGNATURES, Signed, is_signature, manifest_with, referrers_tag, tag_of,
};

/// Times a signature is added again that another signer overwrote in between.
const MAX_MEETINGS: usize = 5;

impl Repository {
    /// All that may be a signature of a digest. Nothing of it is verified but that it is what the registry names.
    pub async fn signatures(&self, digest: &Digest) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        if let Some(manifest) = self.artifact(&tag_of(digest)).await? {
            self.gather(&manifest, &mut found).await?;
        }
        for referrer in self.referrers(digest).await?.iter().filter(|r| is_signature(r)) {
            if found.len() >= MAX_SIGNATURES {
                break;
            }
            if let Some(manifest) = self.artifact(referrer.digest.as_str()).await? {
                self.gather(&manifest, &mut found).await?;
            }
        }
        Ok(found)
    }

    async fn gather(&self, manifest: &Manifest, found: &mut Vec<Found>) -> Result<()> {
        for layer in &manifest.layers {
            let Some(holds) = Holds::of(layer).filter(|_| found.len() < MAX_SIGNATURES) else { continue };
            let content = self.small_blob(&layer.digest, layer.size, MAX_BUNDLE).await?;
            found.push(holds.with(content.to_vec()));
        }
        Ok(())
    }

    /// A manifest that is no index; `None` when there is none.
    async fn artifact(&self, selector: &str) -> Result<Option<Manifest>> {
        match self.manifest(selector).await {
            Ok(fetched) => match fetched.document {
                Document::Manifest(manifest) => Ok(Some(*manifest)),
                Document::Index(_) => Ok(None),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifests about a digest, of registries that list them and of those that have them under a tag.
    pub async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut call = self.call(Method::GET, &format!("referrers/{digest}"), "pull");
        call.headers.insert(ACCEPT, HeaderValue::from_static(media::OCI_INDEX));
        let response = self.send(&call).await?;
        if response.status() == StatusCode::OK {
            let limit = usize::try_from(MAX_MANIFEST_SIZE).unwrap_or(usize::MAX);
            let body = collect(response, limit, self.client.silence).await?;
            let index: Index = serde_json::from_slice(&body)
                .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("read the referrers of {digest}"), e))?;
            return Ok(index.manifests);
        }
        match self.manifest(&referrers_tag(digest)).await {
            Ok(fetched) => match fetched.document {
                Document::Index(index) => Ok(index.manifests),
                Document::Manifest(_) => Ok(Vec::new()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a signature to those of a digest, under their tag.
    ///
    /// # Errors
    /// `Conflict` when others keep overwriting it: a tag has no other protection than looking again.
    pub async fn add_signature(&self, digest: &Digest, signed: &Signed) -> Result<()> {
        let tag = tag_of(digest);
        let payload = Bytes::from(signed.payload.clone());
        for _ in 0..MAX_MEETINGS {
            let old = self.artifact(&tag).await?;
            if old.as_ref().is_some_and(|manifest| has(manifest, signed)) {
                return Ok(());
            }
            let (manifest, config) = manifest_with(old.as_ref(), signed, None);
            self.upload_bytes(&payload).await?;
            self.put_artifact(&tag, &manifest, config).await?;
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("the tag {tag} of {} is overwritten by others again and again: try later", self.name()),
        ))
    }

    /// Adds a signature as a manifest about the image, of registries that list referrers.
    pub async fn add_referrer(&self, subject: Descriptor, signed: &Signed) -> Result<Digest> {
        self.upload_bytes(&Bytes::from(signed.payload.clone())).await?;
        let (manifest, config) = manifest_with(None, signed, Some(subject.clone()));
        let body = encoded(&manifest)?;
        let digest = Digest::sha256(&body);
        self.put_artifact(digest.as_str(), &manifest, config).await?;
        if !self.referrers(&subject.digest).await?.iter().any(|referrer| referrer.digest == digest) {
            return Err(Error::unsupported(format!(
                "{} lists no referrers: store the signature under its tag (legacy)",
                self.registry()
            )));
        }
        Ok(digest)
    }

    async fn put_artifact(&self, selector: &str, manifest: &Manifest, config: Vec<u8>) -> Result<()> {
        self.upload_bytes(&Bytes::from(config)).await?;
        self.put_manifest(selector, media::OCI_MANIFEST, encoded(manifest)?.into()).await.map(drop)
    }
}

fn encoded(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec(manifest).map_err(|e| Error::wrap(ErrorKind::Internal, "write a manifest", e))
}

fn has(manifest: &Manifest, signed: &Signed) -> bool {
    manifest
        .layers
        .iter()
        .filter_map(Holds::of)
        .any(|holds| matches!(holds, Holds::Simple { signature, .. } if signature == signed.signature))
}
