//! `docker import`: a file tree becomes an image of one layer.

use super::compress::{Counting, unwrap};
use super::lease::Lease;
use super::record::{Image, ImageLayer};
use super::tag::now_ns;
use super::{Images, blocking, io, transfer, uncopied};
use std::io::Read;
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::DiffId;
use wharf_oci::image_config::{Config, History, ImageConfig, RootFs};
use wharf_oci::manifest::{Descriptor, media};
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// What an imported image is like.
#[derive(Debug, Default)]
pub struct Import {
    /// Its name.
    pub reference: Option<Reference>,
    /// A note for its history.
    pub message: String,
    /// How containers of it start; from `--change` instructions.
    pub config: Config,
    /// What it runs on; the host's platform unless given.
    pub platform: Option<Platform>,
}

impl Images {
    /// Makes an image of a tar, which may be compressed (gzip, zstd).
    pub async fn import(&self, tar: impl Read + Send + 'static, import: Import) -> Result<Arc<Image>> {
        let lease = Arc::new(Lease::new(&self.leases));
        let result = self.import_into(&lease, tar, import).await;
        let images = self.clone();
        let cleaned = blocking(move || images.end_lease(lease)).await;
        let image = result?;
        cleaned?;
        Ok(image)
    }

    async fn import_into(
        &self,
        lease: &Arc<Lease>,
        tar: impl Read + Send + 'static,
        import: Import,
    ) -> Result<Arc<Image>> {
        let (blobs, held) = (Arc::clone(&self.blobs), Arc::clone(lease));
        let stored = transfer(move || {
            let (_, mut content) = unwrap(tar).map_err(io("read the file tree"))?;
            let mut ingest = blobs.ingest(&format!("import-{}", now_ns()))?;
            ingest.restart()?;
            let mut out = Counting::new(&mut ingest);
            let copied = std::io::copy(&mut content, &mut out);
            let (_, digest, size) = out.finish();
            copied.map_err(uncopied("read the file tree"))?;
            held.hold(&digest);
            ingest.commit(Some(&digest))?;
            Ok((digest, size))
        });
        let (digest, size) = stored.await?;
        let blob = Descriptor::new(media::OCI_LAYER, digest.clone(), size);
        let layers = vec![ImageLayer { diff_id: DiffId(digest), blob, compressed: None }];
        self.unpack_blobs(lease, &layers).await?;
        let created = crate::clock::rfc3339(crate::clock::now_ns());
        let comment = if import.message.is_empty() { "Imported from -".to_owned() } else { import.message };
        let config = ImageConfig {
            created: Some(created.clone()),
            author: None,
            platform: import.platform.unwrap_or_else(Platform::host),
            config: import.config,
            rootfs: RootFs {
                diff_ids: layers.iter().map(|l| l.diff_id.clone()).collect(),
                ..RootFs::default()
            },
            history: vec![History { created: Some(created), comment: Some(comment), ..History::default() }],
        };
        let bytes = serde_json::to_vec(&config)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write an image's configuration", e))?;
        let names: Vec<Reference> = import.reference.map(Reference::or_latest).into_iter().collect();
        self.record(lease, bytes, layers, None, None, &names).await
    }
}
