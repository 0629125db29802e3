//! What is kept of an image, and the table of all of them.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wharf_failpoint::failpoint;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, DiffId, Digest};
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::Descriptor;
use wharf_oci::reference::Reference;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its configuration's bytes, which are a blob.
    pub id: Digest,
    /// Bytes of the configuration.
    pub config_size: u64,
    /// The configuration, parsed.
    pub config: ImageConfig,
    /// Its layers, bottom first.
    pub layers: Vec<ImageLayer>,
    /// The manifest it was pulled or pushed with, which is a blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Descriptor>,
    /// The image it was built on, by one step of a build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Digest>,
    /// Bytes of the files in its layers.
    pub size: u64,
    /// When it was last given a name, nanoseconds since 1970.
    #[serde(default)]
    pub tagged_ns: i64,
}

/// Where a layer of an image is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The blob: as it was pulled, or the uncompressed tar.
    pub blob: Descriptor,
    /// What the blob became when it was compressed for a push; not kept, but known to be the same each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressed: Option<Descriptor>,
}

impl Image {
    /// The chain of its topmost layer; `None` for an image without layers.
    pub fn chain(&self) -> Option<ChainId> {
        ChainId::of(self.layers.iter().map(|layer| &layer.diff_id))
    }

    /// The chains of all its layers, bottom first.
    pub fn chains(&self) -> Vec<ChainId> {
        let mut chains: Vec<ChainId> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            chains.push(ChainId::extend(chains.last(), &layer.diff_id));
        }
        chains
    }

    /// The blobs it needs.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        let layers = self.layers.iter().map(|layer| &layer.blob.digest);
        std::iter::once(&self.id).chain(self.manifest.as_ref().map(|m| &m.digest)).chain(layers)
    }
}

/// All images and names, as the records have them.
#[derive(Default)]
pub(super) struct Table {
    pub(super) images: BTreeMap<Digest, Arc<Image>>,
    /// Canonical references, with a tag or with a digest.
    pub(super) names: BTreeMap<Reference, Digest>,
}

impl Table {
    pub(super) fn read(records: &dyn Records) -> Result<Self> {
        let mut table = Self::default();
        for (id, body) in records.list(RecordKind::Image)? {
            let image: Image = serde_json::from_slice(&body).map_err(|e| broken("image", &id, e))?;
            table.images.insert(image.id.clone(), Arc::new(image));
        }
        for (name, body) in records.list(RecordKind::Tag)? {
            let reference: Reference = name.parse().map_err(|e| broken("tag", &name, e))?;
            let id: Digest = String::from_utf8_lossy(&body).parse().map_err(|e| broken("tag", &name, e))?;
            if table.images.contains_key(&id) {
                table.names.insert(reference, id);
            }
        }
        Ok(table)
    }

    /// Writes an image and names for it in one batch; names move from whatever held them.
    pub(super) fn put(
        &mut self,
        records: &dyn Records,
        image: Image,
        names: &[Reference],
    ) -> Result<Arc<Image>> {
        let body = serde_json::to_vec(&image)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write the record of an image", e))?;
        let mut batch = vec![Change::Put { kind: RecordKind::Image, id: image.id.to_string(), body }];
        batch.extend(names.iter().map(|name| Change::Put {
            kind: RecordKind::Tag,
            id: name.to_string(),
            body: image.id.as_str().as_bytes().to_vec(),
        }));
        records.commit(batch, Durability::Process)?;
        failpoint!("image.recorded");
        let image = Arc::new(image);
        self.images.insert(image.id.clone(), Arc::clone(&image));
        for name in names {
            self.names.insert(name.clone(), image.id.clone());
        }
        Ok(image)
    }

    /// Removes names, and an image when it is named.
    pub(super) fn delete(
        &mut self,
        records: &dyn Records,
        names: &[Reference],
        image: Option<&Digest>,
    ) -> Result<()> {
        let mut batch: Vec<Change> =
            names.iter().map(|name| Change::Delete { kind: RecordKind::Tag, id: name.to_string() }).collect();
        batch.extend(image.map(|id| Change::Delete { kind: RecordKind::Image, id: id.to_string() }));
        records.commit(batch, Durability::Process)?;
        for name in names {
            self.names.remove(name);
        }
        if let Some(id) = image {
            self.images.remove(id);
        }
        Ok(())
    }

    /// The names of an image: with tags, and with digests.
    pub(super) fn names_of(&self, id: &Digest) -> (Vec<Reference>, Vec<Reference>) {
        let all = self.names.iter().filter(|(_, named)| *named == id).map(|(name, _)| name.clone());
        all.partition(|name| name.digest().is_none())
    }

    /// Every blob that an image needs.
    pub(super) fn blobs(&self) -> BTreeSet<Digest> {
        self.images.values().flat_map(|image| image.blobs().cloned().collect::<Vec<_>>()).collect()
    }

    /// An image that was looked up before the table was locked, as it is now.
    ///
    /// # Errors
    /// `NotFound` when it was removed meanwhile.
    pub(super) fn now(&self, image: &Image) -> Result<Arc<Image>> {
        let now = self.images.get(&image.id).cloned();
        now.ok_or_else(|| Error::not_found(format!("No such image: {}", image.id)))
    }

    /// Every layer that an image needs.
    pub(super) fn chains(&self) -> BTreeSet<ChainId> {
        self.images.values().flat_map(|image| image.chains()).collect()
    }
}

fn broken(kind: &str, id: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::wrap(ErrorKind::Internal, format!("read the record of {kind} {id}"), error)
}
