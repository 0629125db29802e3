//! Images from configurations and snapshots: commit and build.

use super::lease::Lease;
use super::record::{Image, ImageLayer};
use super::tag::now_ns;
use super::{Images, blocking};
use std::sync::Arc;
use wharf_failpoint::failpoint;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest};
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::{Descriptor, media};
use wharf_oci::reference::Reference;

/// A new image on the layers of another.
pub struct NewImage {
    /// The configuration; its list of layers is filled in.
    pub config: ImageConfig,
    /// The layers, bottom first, all of them here.
    pub layers: Vec<ImageLayer>,
    /// The image of the step before.
    pub parent: Option<Digest>,
    /// Its names.
    pub tags: Vec<Reference>,
}

impl Images {
    /// Turns a snapshot into a layer and keeps its tar for a later push or save. The snapshot is gone
    /// afterwards. The layer waits for the image that [`Images::create`] makes with it, for an hour at most.
    pub async fn commit_snapshot(&self, key: &str) -> Result<ImageLayer> {
        let (images, key) = (self.clone(), key.to_owned());
        blocking(move || {
            images.pending.commit(&images.leases, || {
                let mut ingest = images.blobs.ingest(&format!("commit-{key}"))?;
                ingest.restart()?;
                let layer = images.snapshots.commit(&key, &mut *ingest)?;
                let size = ingest.offset();
                failpoint!("commit.layer");
                let digest = ingest.commit(Some(&layer.diff_id.0))?;
                images.snapshots.settle(&layer.chain_id, &images.blobs.open(&digest)?)?;
                let held = vec![digest.clone(), layer.chain_id.0];
                let blob = Descriptor::new(media::OCI_LAYER, digest, size);
                Ok((ImageLayer { diff_id: layer.diff_id, blob, compressed: None }, held))
            })
        })
        .await
    }

    /// Makes an image of a configuration and layers that are here.
    pub async fn create(&self, new: NewImage) -> Result<Arc<Image>> {
        let lease = Arc::new(Lease::new(&self.leases));
        for layer in &new.layers {
            lease.hold(&layer.blob.digest);
        }
        let mut config = new.config;
        config.rootfs.diff_ids = new.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        if let Some(chain) = ChainId::of(&config.rootfs.diff_ids) {
            lease.hold(&chain.0);
            if self.snapshots.layer(&chain)?.is_none() {
                return Err(Error::not_found(format!("the layer {chain} of a new image is not here")));
            }
        }
        let bytes = serde_json::to_vec(&config)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write an image's configuration", e))?;
        let names = new.tags;
        let image = self.record(&lease, bytes, new.layers, None, new.parent, &names).await?;
        self.pending.settle(image.layers.iter().map(|layer| &layer.blob.digest));
        if !names.is_empty() {
            self.ready_later(&image);
        }
        Ok(image)
    }

    /// One index for all layers of an image that people will run, before they do.
    fn ready_later(&self, image: &Image) {
        let Some(chain) = image.chain() else { return };
        let snapshots = Arc::clone(&self.snapshots);
        tokio::task::spawn_blocking(move || {
            // The image may be gone already. The first container makes what is not there, and tells of failures.
            if let Err(e) = snapshots.ready(&chain) {
                tracing::debug!("{}", e.full());
            }
        });
    }

    /// Stores a configuration and records the image: from here on it is visible.
    pub(super) async fn record(
        &self,
        lease: &Arc<Lease>,
        config: Vec<u8>,
        layers: Vec<ImageLayer>,
        manifest: Option<Descriptor>,
        parent: Option<Digest>,
        names: &[Reference],
    ) -> Result<Arc<Image>> {
        let id = Digest::sha256(&config);
        lease.hold(&id);
        let parsed: ImageConfig = serde_json::from_slice(&config)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the image's configuration", e))?;
        let (images, names) = (self.clone(), names.to_vec());
        blocking(move || {
            let config_size = config.len() as u64;
            failpoint!("image.layers");
            images.blobs.put(&config)?;
            failpoint!("image.config");
            let mut image = Image {
                id,
                config_size,
                config: parsed,
                layers,
                manifest,
                parent,
                size: 0,
                tagged_ns: now_ns(),
            };
            for chain in image.chains() {
                image.size += images.snapshots.layer(&chain)?.map_or(0, |layer| layer.size);
            }
            let mut table = images.table();
            if let Some(known) = table.images.get(&image.id) {
                // The same image by another way: what was known of it stays, with the manifest it came by now.
                image.parent = known.parent.clone().or(image.parent);
                if image.manifest.is_none() {
                    image.layers.clone_from(&known.layers);
                    image.manifest.clone_from(&known.manifest);
                }
            }
            images.uses.note(&image.id);
            // Who loses a name was used under it until now.
            names.iter().filter_map(|name| table.names.get(name)).for_each(|id| images.uses.note(id));
            table.put(&*images.records, image, &names)
        })
        .await
    }
}
