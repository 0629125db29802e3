//! Manifests and indexes, OCI's and Docker's schema 2 (OCI image specification, manifest.md, image-index.md).

use crate::digest::Digest;
use crate::platform::Platform;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes a manifest or index may have; registries refuse more (distribution specification, "Pushing Manifests").
pub const MAX_MANIFEST_SIZE: u64 = 4 << 20;

/// Media types.
pub mod media {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Prefix of OCI layers that registries did not use to hold.
    pub const OCI_LAYER_NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    /// OCI's empty JSON object, the config of artifacts.
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Docker manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, zstd.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// Docker layer kept elsewhere, gzip.
    pub const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// Docker manifest, schema 1, signed. Refused.
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Docker manifest, schema 1. Refused.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";

    /// What a client accepts as a manifest, in order of preference.
    pub const ACCEPTED: [&str; 4] = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];
}

/// How a layer's tar is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), any number of members.
    Gzip,
    /// zstd (RFC 8878), any number of frames.
    Zstd,
}

impl Compression {
    /// What the first bytes of a stream say; six are enough.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // zstd's skippable frames: a frame that carries no content may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The OCI media type of a layer wrapped like this.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Self::None => media::OCI_LAYER,
            Self::Gzip => media::OCI_LAYER_GZIP,
            Self::Zstd => media::OCI_LAYER_ZSTD,
        }
    }
}

/// Why a document is not a manifest that Wharf takes.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON that was expected.
    #[error("malformed manifest")]
    Json(#[from] serde_json::Error),
    /// Docker's first format.
    #[error(
        "the image has a schema 1 manifest, a format without verifiable content that was withdrawn in 2020: \
         push it again with a current client"
    )]
    Schema1,
    /// Something else.
    #[error("unknown manifest media type {0:?}: an OCI or Docker schema 2 manifest or index is expected")]
    Unknown(String),
    /// The body is of another kind than its media type says.
    #[error("ambiguous manifest: the document of media type {0:?} has the fields of another")]
    Ambiguous(String),
}

/// Points to content (descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Other places to fetch it from.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::null::as_default")]
    pub urls: Vec<String>,
    /// Notes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What the image it points to runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content itself, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor of media type, digest and size only.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// Whether it is a layer that registries need not hold.
    pub fn is_foreign(&self) -> bool {
        self.media_type == media::DOCKER_LAYER_FOREIGN
            || self.media_type.starts_with(media::OCI_LAYER_NONDISTRIBUTABLE)
    }

    /// How the layer is wrapped, by its media type; `None` when it is not a layer that can be unpacked.
    pub fn compression(&self) -> Option<Compression> {
        let nondistributable = media::OCI_LAYER_NONDISTRIBUTABLE;
        match self.media_type.as_str() {
            media::OCI_LAYER | media::DOCKER_LAYER => Some(Compression::None),
            media::OCI_LAYER_GZIP | media::DOCKER_LAYER_GZIP | media::DOCKER_LAYER_FOREIGN => {
                Some(Compression::Gzip)
            }
            media::OCI_LAYER_ZSTD | media::DOCKER_LAYER_ZSTD => Some(Compression::Zstd),
            other => match other.strip_prefix(nondistributable)? {
                "" => Some(Compression::None),
                "+gzip" => Some(Compression::Gzip),
                "+zstd" => Some(Compression::Zstd),
                _ => None,
            },
        }
    }
}

/// One image, or one artifact (manifest.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's; may be absent in OCI's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Whether it is an image that can be run, rather than another artifact.
    pub fn is_image(&self) -> bool {
        matches!(self.config.media_type.as_str(), media::OCI_CONFIG | media::DOCKER_CONFIG)
    }
}

/// Several manifests, one a platform (image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's; may be absent in OCI's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// The manifest that serves `platform` best; of equals the first. Entries without a platform serve any,
    /// after all that name a fitting one.
    pub fn choose(&self, platform: &Platform) -> Option<&Descriptor> {
        let rank = |entry: &Descriptor| match &entry.platform {
            None => Some(u32::MAX),
            // Attestations and other companions are marked so; they run nowhere.
            Some(offered) if offered.os == "unknown" => None,
            Some(offered) => platform.rank(offered),
        };
        self.manifests
            .iter()
            .filter_map(|m| Some((rank(m)?, m)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, m)| m)
    }

    /// The platforms on offer, as one line of text.
    pub fn offered(&self) -> String {
        let names: Vec<String> =
            self.manifests.iter().filter_map(|m| m.platform.as_ref()).map(Platform::to_string).collect();
        names.join(", ")
    }
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// One image a platform.
    Index(Box<Index>),
}

/// The fields that tell one kind of document from another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses a document. Its own `mediaType` decides, then the `Content-Type` it came with, then its fields.
    /// A document with fields of both kinds is refused: two readers could see two images in it.
    pub fn parse(body: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let probe: Probe = serde_json::from_slice(body)?;
        let stated = content_type.map(|t| t.split(';').next().unwrap_or_default().trim());
        let media_type = probe.media_type.as_deref().or(stated.filter(|t| is_manifest_type(t)));
        let index = match media_type {
            Some(media::DOCKER_SCHEMA1 | media::DOCKER_SCHEMA1_SIGNED) => return Err(ManifestError::Schema1),
            _ if probe.schema_version == 1 || probe.fs_layers.is_some() => {
                return Err(ManifestError::Schema1);
            }
            Some(media::OCI_INDEX | media::DOCKER_INDEX) => true,
            Some(media::OCI_MANIFEST | media::DOCKER_MANIFEST) => false,
            Some(other) => return Err(ManifestError::Unknown(other.to_owned())),
            None => probe.manifests.is_some(),
        };
        let mixed =
            if index { probe.layers.is_some() || probe.config.is_some() } else { probe.manifests.is_some() };
        if mixed {
            return Err(ManifestError::Ambiguous(media_type.unwrap_or_default().to_owned()));
        }
        Ok(if index {
            Self::Index(Box::new(serde_json::from_slice(body)?))
        } else {
            Self::Manifest(Box::new(serde_json::from_slice(body)?))
        })
    }

    /// Its media type: as stated, else OCI's.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest.media_type.as_deref().unwrap_or(media::OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media::OCI_INDEX),
        }
    }

    /// The manifest it is about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Manifest(manifest) => manifest.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }
}

fn is_manifest_type(text: &str) -> bool {
    media::ACCEPTED.contains(&text) || [media::DOCKER_SCHEMA1, media::DOCKER_SCHEMA1_SIGNED].contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    #[test]
    fn documents_are_told_apart() {
        let manifest = Manifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config: Descriptor::new(media::OCI_CONFIG, digest("c"), 1),
            layers: vec![Descriptor::new(media::OCI_LAYER_GZIP, digest("l"), 2)],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let json = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Document::parse(&json, None).unwrap(), Document::Manifest(Box::new(manifest.clone())));
        assert_eq!(
            Document::parse(&json, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"))
                .unwrap(),
            Document::Manifest(Box::new(manifest))
        );
        assert!(matches!(Document::parse(&json, Some(media::OCI_INDEX)), Err(ManifestError::Ambiguous(_))));
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(Document::parse(index, None), Ok(Document::Index(_))));
        let old = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert!(matches!(Document::parse(old, None), Err(ManifestError::Schema1)));
        assert!(matches!(
            Document::parse(br#"{"schemaVersion":2,"mediaType":"text/html"}"#, None),
            Err(ManifestError::Unknown(_))
        ));
        assert!(Document::parse(b"<html>", None).is_err());
    }

    #[test]
    fn the_fitting_platform_is_chosen() {
        let entry = |platform: &str, name: &str| Descriptor {
            platform: Some(platform.parse().unwrap()),
            ..Descriptor::new(media::OCI_MANIFEST, digest(name), 1)
        };
        let index = Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests: vec![
                entry("unknown/unknown", "attestation"),
                entry("linux/386", "386"),
                entry("linux/amd64", "amd64"),
                entry("linux/arm/v7", "arm"),
            ],
            subject: None,
            annotations: BTreeMap::new(),
        };
        let choose = |p: &str| index.choose(&p.parse().unwrap()).map(|d| d.digest.clone());
        assert_eq!(choose("linux/amd64"), Some(digest("amd64")));
        assert_eq!(choose("linux/arm64"), Some(digest("arm")));
        assert_eq!(choose("linux/s390x"), None);
    }

    #[test]
    fn compression_by_media_type_and_by_magic() {
        let of = |t: &str| Descriptor::new(t, digest(""), 0).compression();
        assert_eq!(of(media::DOCKER_LAYER_GZIP), Some(Compression::Gzip));
        assert_eq!(
            of("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
            Some(Compression::Zstd)
        );
        assert_eq!(of(media::OCI_LAYER), Some(Compression::None));
        assert_eq!(of("application/vnd.in-toto+json"), None);
        assert_eq!(Compression::detect(&[0x1f, 0x8b, 8, 0]), Compression::Gzip);
        assert_eq!(Compression::detect(b"etc/"), Compression::None);
    }
}
