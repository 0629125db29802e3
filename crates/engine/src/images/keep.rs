//! What is kept of layers that came compressed, and what is known of them afterwards.
//!
//! A registry's own bytes are what a push sends again, and what a damaged layer is made again from. Who has little disk lets
//! them go: the plain tar takes their place. A push then asks the registry whether it has them, and else makes others.

use super::compress::unwrap;
use super::lease::Lease;
use super::record::ImageLayer;
use super::unpack::verified;
use super::{Image, Images, blocking, io};
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_model::Result;
use wharf_oci::digest::{DiffId, Digest};
use wharf_oci::manifest::{Descriptor, media};

/// What becomes of compressed layers when their plain tars are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compressed {
    /// They stay.
    #[default]
    Keep,
    /// They go, where layers are kept as tars.
    Drop,
}

impl std::str::FromStr for Compressed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            _ => Err(format!("{text:?} is neither keep nor drop")),
        }
    }
}

impl Images {
    /// The same service with this policy.
    pub fn with_compressed(self, policy: Compressed) -> Self {
        Self { compressed: policy, ..self }
    }

    /// Lets go of every compressed layer that has a plain tar, if that is the policy, while the engine does other things.
    pub fn apply_compressed(&self) {
        let images: Vec<Arc<Image>> = self.table().images.values().cloned().collect();
        images.iter().for_each(|image| self.drop_compressed_later(image));
    }

    /// The same for one image.
    pub(super) fn drop_compressed_later(&self, image: &Arc<Image>) {
        if self.compressed == Compressed::Keep {
            return;
        }
        if image.layers.iter().all(|layer| layer.blob.digest == layer.diff_id.0) {
            return;
        }
        let (images, image) = (self.clone(), Arc::clone(image));
        tokio::task::spawn_blocking(move || {
            if let Err(e) = images.drop_compressed_of(&image) {
                tracing::warn!("compressed layers of {} stay: {}", image.id, e.full());
            }
        });
    }

    fn drop_compressed_of(&self, image: &Image) -> Result<()> {
        let lease = Arc::new(Lease::new(&self.leases));
        let done = self.replace_by_tars(&lease, image);
        self.end_lease(lease)?;
        done
    }

    fn replace_by_tars(&self, lease: &Lease, image: &Image) -> Result<()> {
        let mut plain: BTreeMap<Digest, ImageLayer> = BTreeMap::new();
        for (layer, chain) in image.layers.iter().zip(image.chains()) {
            if layer.blob.digest == layer.diff_id.0 {
                continue;
            }
            // The compressed blob is held as well: it goes with the lease.
            lease.hold(&chain.0);
            lease.hold(&layer.diff_id.0);
            lease.hold(&layer.blob.digest);
            let known = self.snapshots.layer(&chain)?.is_some_and(|layer| layer.tar.is_some());
            let Some(tar) = known.then(|| self.snapshots.tar(&chain)).transpose()?.flatten() else {
                continue;
            };
            let size = tar.metadata().map_err(io("look at a layer's tar"))?.len();
            self.blobs.adopt(&layer.diff_id.0, &tar)?;
            let blob = Descriptor::new(media::OCI_LAYER, layer.diff_id.0.clone(), size);
            let compressed = Some(layer.blob.clone());
            let layer_now = ImageLayer { diff_id: layer.diff_id.clone(), blob, compressed };
            plain.insert(layer.blob.digest.clone(), layer_now);
        }
        let mut table = self.table();
        // Removed meanwhile: its tars go with the lease.
        let Some(current) = table.images.get(&image.id).filter(|_| !plain.is_empty()) else { return Ok(()) };
        let mut current = (**current).clone();
        for layer in &mut current.layers {
            if let Some(now) = plain.get(&layer.blob.digest) {
                layer.clone_from(now);
            }
        }
        table.put(&*self.records, current, &[]).map(drop)
    }

    /// A layer that some image here has, or had, as this blob.
    pub(super) fn known_layer(&self, blob: &Digest, diff_id: &DiffId) -> Option<ImageLayer> {
        let table = self.table();
        let layers = table.images.values().flat_map(|image| &image.layers);
        let is_it = |layer: &&ImageLayer| {
            layer.diff_id == *diff_id
                && (layer.blob.digest == *blob
                    || layer.compressed.as_ref().is_some_and(|c| c.digest == *blob))
        };
        layers.filter(is_it).max_by_key(|layer| layer.blob.digest == *blob).cloned()
    }

    /// A blob that is said to be a layer which is here has to have its content: it would be pushed in the layer's place.
    pub(super) async fn check_pair(&self, layer: &ImageLayer) -> Result<()> {
        if self.is_known(layer) {
            return Ok(());
        }
        let (blobs, blob, diff_id) =
            (Arc::clone(&self.blobs), layer.blob.digest.clone(), layer.diff_id.clone());
        blocking(move || {
            let (_, tar) = unwrap(blobs.open(&blob)?).map_err(io("read a layer"))?;
            verified(tar, &diff_id)
        })
        .await
    }

    /// Whether a blob is known to hold its layer's content.
    pub(super) fn is_known(&self, layer: &ImageLayer) -> bool {
        layer.blob.digest == layer.diff_id.0 || self.known_layer(&layer.blob.digest, &layer.diff_id).is_some()
    }
}
