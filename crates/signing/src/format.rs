//! How cosign stores signatures (its SIGNATURE_SPEC): payload, tag, manifest.

use crate::check::Found;
use crate::key::PrivateKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Manifest, media};

/// Media type of a payload.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Type of signatures among referrers.
pub const SIGNATURE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Beginning of the type of bundles among referrers; the version follows.
pub const BUNDLE_ARTIFACT: &str = "application/vnd.dev.sigstore.bundle";
/// The annotation with the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation with the certificate of a signature without a key.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// What a payload says it is.
pub const TYPE: &str = "cosign container image signature";
/// Bytes of a payload: names, a digest, some annotations.
pub const MAX_PAYLOAD: u64 = 64 << 10;
/// Bytes of a bundle: it may hold certificates and proofs.
pub const MAX_BUNDLE: u64 = 1 << 20;
/// Signatures of an image that are looked at: each costs a request.
pub const MAX_SIGNATURES: usize = 100;

/// What is signed ("simple signing").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// What has to be understood.
    pub critical: Critical,
    /// Annotations.
    pub optional: Option<BTreeMap<String, Value>>,
}

/// What has to be understood of a payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Critical {
    /// Under which name.
    pub identity: Identity,
    /// Which image.
    pub image: Image,
    /// [`TYPE`]
    #[serde(rename = "type")]
    pub kind: String,
}

/// The name that was signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The repository; with a tag when another tool signed.
    #[serde(rename = "docker-reference")]
    pub docker_reference: String,
}

/// The image that was signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its manifest or index.
    #[serde(rename = "docker-manifest-digest")]
    pub docker_manifest_digest: String,
}

/// A payload and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The bytes that are signed.
    pub payload: Vec<u8>,
    /// The signature, in base64.
    pub signature: String,
}

/// The tag of a digest's signatures.
pub fn tag_of(digest: &Digest) -> String {
    format!("{}.sig", referrers_tag(digest))
}

/// The tag of a digest's referrers in registries that do not list them (distribution specification, "Referrers Tag
/// Schema").
pub fn referrers_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// The digest that a tag belongs to, of those that belong to one: `sha256-<hex>` with or without `.sig`, `.att` or
/// `.sbom`.
pub fn subject_of(tag: &str) -> Option<Digest> {
    let bare = [".sig", ".att", ".sbom"].iter().find_map(|end| tag.strip_suffix(end)).unwrap_or(tag);
    bare.replacen('-', ":", 1).parse().ok()
}

/// Whether a tag is one of those that belong to a digest.
pub fn is_attachment(tag: &str) -> bool {
    subject_of(tag).is_some()
}

/// What a layer is that may be a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// A payload; the signature is with the layer.
    Simple {
        /// The signature, in base64.
        signature: String,
        /// Whether a certificate is with it in place of a key.
        keyless: bool,
    },
    /// A bundle.
    Bundle,
}

impl Holds {
    /// What a layer of a manifest holds, if that may be a signature.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        if layer.media_type.starts_with(BUNDLE_ARTIFACT) {
            return (layer.size <= MAX_BUNDLE).then_some(Self::Bundle);
        }
        if layer.media_type != SIMPLE_SIGNING || layer.size > MAX_PAYLOAD {
            return None;
        }
        let signature = layer.annotations.get(SIGNATURE)?.clone();
        let keyless = layer.annotations.get(CERTIFICATE).is_some_and(|text| !text.is_empty());
        Some(Self::Simple { signature, keyless })
    }

    /// With the layer's content.
    pub fn with(self, content: Vec<u8>) -> Found {
        match self {
            Self::Simple { signature, keyless } => Found::Simple { payload: content, signature, keyless },
            Self::Bundle => Found::Bundle(content),
        }
    }
}

/// Whether a referrer may be a signature.
pub fn is_signature(referrer: &Descriptor) -> bool {
    referrer
        .artifact_type
        .as_deref()
        .is_some_and(|kind| kind == SIGNATURE_ARTIFACT || kind.starts_with(BUNDLE_ARTIFACT))
}

/// Signs an image.
pub fn sign(
    key: &PrivateKey,
    repository: &str,
    digest: &Digest,
    annotations: &BTreeMap<String, String>,
) -> Result<Signed> {
    let optional = (!annotations.is_empty())
        .then(|| annotations.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect());
    let payload = Payload {
        critical: Critical {
            identity: Identity { docker_reference: repository.to_owned() },
            image: Image { docker_manifest_digest: digest.to_string() },
            kind: TYPE.to_owned(),
        },
        optional,
    };
    let payload = serde_json::to_vec(&payload)
        .map_err(|e| Error::wrap(ErrorKind::Internal, "write a signature's payload", e))?;
    let signature = STANDARD.encode(key.sign(&payload)?);
    Ok(Signed { payload, signature })
}

/// A manifest of signatures: what there is, and one more. The second value is its configuration. With a `subject` it
/// is one among the digest's referrers.
pub fn manifest_with(
    old: Option<&Manifest>,
    signed: &Signed,
    subject: Option<Descriptor>,
) -> (Manifest, Vec<u8>) {
    let mut layers: Vec<Descriptor> = old.map(|m| m.layers.clone()).unwrap_or_default();
    let mut layer =
        Descriptor::new(SIMPLE_SIGNING, Digest::sha256(&signed.payload), signed.payload.len() as u64);
    layer.annotations.insert(SIGNATURE.to_owned(), signed.signature.clone());
    layers.push(layer);
    let diffs: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let never = "0001-01-01T00:00:00Z";
    let config = serde_json::json!({
        "architecture": "", "created": never, "history": vec![serde_json::json!({"created": never}); diffs.len()],
        "os": "", "rootfs": {"type": "layers", "diff_ids": diffs}, "config": {}
    })
    .to_string()
    .into_bytes();
    let kind = if subject.is_some() { SIGNATURE_ARTIFACT } else { media::OCI_CONFIG };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        artifact_type: subject.as_ref().map(|_| SIGNATURE_ARTIFACT.to_owned()),
        config: Descriptor::new(kind, Digest::sha256(&config), config.len() as u64),
        layers,
        subject,
        annotations: old.map(|m| m.annotations.clone()).unwrap_or_default(),
    };
    (manifest, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let digest = Digest::sha256(b"x");
        for end in ["", ".sig", ".att", ".sbom"] {
            let tag = format!("{}{end}", referrers_tag(&digest));
            assert_eq!(subject_of(&tag).as_ref(), Some(&digest), "{end}");
        }
        assert_eq!(tag_of(&digest), format!("sha256-{}.sig", digest.hex()));
        assert!(!is_attachment("v1.sig") && !is_attachment("latest") && !is_attachment("sha256-12.sig"));
    }

    #[test]
    fn signatures_add_up() {
        let signed = |text: &str| Signed { payload: text.into(), signature: "AA==".into() };
        let (first, _) = manifest_with(None, &signed("a"), None);
        let (both, config) = manifest_with(Some(&first), &signed("b"), None);
        assert_eq!(both.layers.len(), 2);
        assert_eq!(both.layers[0], first.layers[0]);
        assert_eq!(both.config.digest, Digest::sha256(&config));
        assert_eq!(both.layers[1].annotations[SIGNATURE], "AA==");
    }
}
