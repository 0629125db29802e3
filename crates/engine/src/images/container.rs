//! Images of containers: `commit`.

use super::lease::Lease;
use super::record::{Image, ImageLayer};
use super::tag::now_ns;
use super::{Images, blocking};
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{DiffId, Digest};
use wharf_oci::image_config::{Config, History, ImageConfig};
use wharf_oci::manifest::{Descriptor, media};
use wharf_oci::reference::Reference;

/// What an image of a container is like.
#[derive(Debug)]
pub struct Commit {
    /// The container's snapshot. It stays as it is.
    pub snapshot: String,
    /// The image the container was made from.
    pub base: Digest,
    /// How containers of it start.
    pub config: Config,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// What the container ran.
    pub created_by: String,
    /// Its name.
    pub reference: Option<Reference>,
}

impl Images {
    /// Makes an image of what a container changed, on top of its own image. The changes are read once: whoever wants
    /// them to be of one moment stops the container meanwhile.
    ///
    /// # Errors
    /// `NotFound` when the container's image is gone.
    pub async fn commit_container(&self, commit: Commit) -> Result<Arc<Image>> {
        let lease = Arc::new(Lease::new(&self.leases));
        let result = self.commit_into(&lease, commit).await;
        let images = self.clone();
        let cleaned = blocking(move || images.end_lease(lease)).await;
        let image = result?;
        cleaned?;
        Ok(image)
    }

    async fn commit_into(&self, lease: &Arc<Lease>, commit: Commit) -> Result<Arc<Image>> {
        let base = self.hold_image(lease, &self.resolve(commit.base.as_str())?)?;
        let mut layers = base.layers.clone();
        layers.push(self.layer_of_changes(lease, commit.snapshot).await?);
        self.unpack_blobs(lease, &layers).await?;
        let created = crate::clock::rfc3339(crate::clock::now_ns());
        let mut config = ImageConfig {
            created: Some(created.clone()),
            author: Some(commit.author.clone()).filter(|a| !a.is_empty()),
            config: commit.config,
            ..base.config.clone()
        };
        config.rootfs.diff_ids = layers.iter().map(|l| l.diff_id.clone()).collect();
        config.history.push(History {
            created: Some(created),
            author: config.author.clone(),
            created_by: Some(commit.created_by),
            comment: Some(commit.comment).filter(|c| !c.is_empty()),
            ..History::default()
        });
        let bytes = serde_json::to_vec(&config)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write an image's configuration", e))?;
        let names: Vec<Reference> = commit.reference.map(Reference::or_latest).into_iter().collect();
        self.record(lease, bytes, layers, None, Some(base.id.clone()), &names).await
    }

    async fn layer_of_changes(&self, lease: &Arc<Lease>, snapshot: String) -> Result<ImageLayer> {
        let (blobs, snapshots, held) =
            (Arc::clone(&self.blobs), Arc::clone(&self.snapshots), Arc::clone(lease));
        blocking(move || {
            let mut ingest = blobs.ingest(&format!("commit-{snapshot}-{}", now_ns()))?;
            ingest.restart()?;
            snapshots.export(&snapshot, &mut *ingest)?;
            let size = ingest.offset();
            let digest = ingest.commit(None)?;
            held.hold(&digest);
            let blob = Descriptor::new(media::OCI_LAYER, digest.clone(), size);
            Ok(ImageLayer { diff_id: DiffId(digest), blob, compressed: None })
        })
        .await
    }
}
