//! Putting right what is damaged of an image: from what else is here of it, else from the registries it is known to be in.

use super::{LogIn, Part};
use crate::images::compress::unwrap;
use crate::images::follow::Follow;
use crate::images::lease::Lease;
use crate::images::pull::{MAX_CONFIG, Source};
use crate::images::record::ImageLayer;
use crate::images::{Image, Images, blocking, io};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::Arc;
use wharf_distribution::client::Repository;
use wharf_model::snapshots::Condition;
use wharf_model::{Error, Result};
use wharf_oci::digest::{ChainId, Digest};
use wharf_oci::manifest::Descriptor;

impl Images {
    /// Mends one part of an image, and looks whether it is whole then.
    pub(super) async fn mend(
        &self,
        lease: &Arc<Lease>,
        image: &Arc<Image>,
        part: Part,
        log_in: &LogIn,
    ) -> Result<()> {
        let from = self.repositories(image, log_in);
        match part {
            Part::Configuration => self.mend_document(&from, &image.id, Some(image.config_size)).await?,
            Part::Manifest => self.mend_document(&from, &part.digest(image), None).await?,
            Part::Blob(at) => self.mend_blob(lease, &from, image, at).await?,
            Part::Layer(at) => self.mend_layer(lease, &from, image, at).await?,
        }
        let (images, digest) = (self.clone(), part.digest(image));
        let left = blocking(move || match part {
            Part::Layer(_) => images.damage_of_layer(&ChainId(digest), &mut super::Checked::default()),
            _ => images.damage_of_blob(&digest, &mut super::Checked::default()),
        });
        match left.await? {
            None => Ok(()),
            Some(damage) => Err(Error::internal(format!("it was written anew, but {damage}"))),
        }
    }

    /// The repositories that an image was pulled from or pushed to.
    fn repositories(&self, image: &Image, log_in: &LogIn) -> Vec<Repository> {
        let (_, digests) = self.table().names_of(&image.id);
        let mut known = BTreeSet::new();
        let names = digests.iter().filter(|name| known.insert(name.repository()));
        names.map(|name| self.client.repository(name, log_in(name))).collect()
    }

    /// Fetches a configuration, of which the size is known, or a manifest.
    async fn mend_document(&self, from: &[Repository], digest: &Digest, size: Option<u64>) -> Result<()> {
        let mut refused = Refused::default();
        for repository in from {
            let fetched = match size {
                Some(size) => repository.small_blob(digest, size, MAX_CONFIG).await,
                None => repository.manifest(digest.as_str()).await.map(|fetched| fetched.body),
            };
            match fetched {
                Ok(bytes) => return self.replace(digest, move || Ok(Cursor::new(bytes))).await,
                Err(e) => refused.note(e),
            }
        }
        Err(refused.error())
    }

    /// Writes a blob anew, whatever is there under its name.
    async fn replace<R: Read>(
        &self,
        digest: &Digest,
        open: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<()> {
        let _flight = self.flights.join(digest).await;
        let (blobs, digest) = (Arc::clone(&self.blobs), digest.clone());
        blocking(move || {
            let mut ingest = blobs.ingest(&format!("mend-{digest}"))?;
            ingest.restart()?;
            std::io::copy(&mut open()?, &mut ingest).map_err(io("write a blob"))?;
            ingest.commit(Some(&digest)).map(drop)
        })
        .await
    }

    async fn mend_blob(
        &self,
        lease: &Arc<Lease>,
        from: &[Repository],
        image: &Image,
        at: usize,
    ) -> Result<()> {
        let layer = &image.layers[at];
        if layer.blob.digest != layer.diff_id.0 {
            return self.fetch_again(lease, from, &layer.blob).await;
        }
        // The layer's tar is the same content, most often in the same file.
        if self.sound_tar(&image.chains()[at], &layer.blob.digest).await?.is_none() {
            self.mend_layer(lease, from, image, at).await?;
        }
        match self.sound_tar(&image.chains()[at], &layer.blob.digest).await? {
            Some(tar) => {
                let (blobs, digest) = (Arc::clone(&self.blobs), layer.blob.digest.clone());
                blocking(move || blobs.adopt(&digest, &tar)).await
            }
            // An unpacked layer has no tar: the blob is made of what a registry has.
            None => {
                let content = self.fetched_content(lease, from, layer).await?;
                self.replace(&layer.blob.digest, move || content.open()).await
            }
        }
    }

    /// The file of a layer's tar, if it has this digest.
    async fn sound_tar(&self, chain: &ChainId, digest: &Digest) -> Result<Option<File>> {
        let (snapshots, chain, digest) = (Arc::clone(&self.snapshots), chain.clone(), digest.clone());
        blocking(move || {
            if snapshots.layer(&chain)?.is_none_or(|layer| layer.tar.is_none()) {
                return Ok(None);
            }
            // Unreadable is as good as gone.
            let Ok(Some(tar)) = snapshots.tar(&chain) else { return Ok(None) };
            Ok(Digest::of_stream(&tar, &digest).is_ok_and(|real| real == digest).then_some(tar))
        })
        .await
    }

    async fn mend_layer(
        &self,
        lease: &Arc<Lease>,
        from: &[Repository],
        image: &Image,
        at: usize,
    ) -> Result<()> {
        let chain = image.chains().swap_remove(at);
        let (snapshots, here) = (Arc::clone(&self.snapshots), chain.clone());
        let condition = blocking(move || {
            let known = snapshots.layer(&here)?.is_some();
            if known { snapshots.check(&here).map(Some) } else { Ok(None) }
        });
        let content = match condition.await? {
            // Those below it are there by now: layers are mended from the bottom up.
            None => return self.unpack_blobs(lease, &image.layers[..=at]).await.map(drop),
            Some(Condition::Sound | Condition::Unverifiable) => return Ok(()),
            Some(Condition::Derived(_)) => None,
            Some(Condition::Content(_)) => Some(self.content(lease, from, &image.layers[at]).await?),
        };
        let snapshots = Arc::clone(&self.snapshots);
        let working = lease.at_work().await;
        blocking(move || {
            let _working = working;
            match content {
                None => snapshots.mend(&chain, None),
                Some(content) => snapshots.mend(&chain, Some(&mut content.open()?)),
            }
        })
        .await
    }

    /// A layer's content from its blob, or from a registry.
    async fn content(&self, lease: &Arc<Lease>, from: &[Repository], layer: &ImageLayer) -> Result<Content> {
        let here = Content::of(self, &layer.blob);
        match here.is_sound().await? {
            true => Ok(here),
            false => self.fetched_content(lease, from, layer).await,
        }
    }

    async fn fetched_content(
        &self,
        lease: &Arc<Lease>,
        from: &[Repository],
        layer: &ImageLayer,
    ) -> Result<Content> {
        // Registries have plain layers, too.
        let descriptor = layer.compressed.as_ref().unwrap_or(&layer.blob);
        lease.hold(&descriptor.digest);
        self.fetch_again(lease, from, descriptor).await?;
        Ok(Content::of(self, descriptor))
    }

    /// Fetches a blob though one of its name may be here.
    async fn fetch_again(
        &self,
        lease: &Arc<Lease>,
        from: &[Repository],
        descriptor: &Descriptor,
    ) -> Result<()> {
        let flight = Arc::new(self.flights.join(&descriptor.digest).await);
        let mut refused = Refused::default();
        let quiet: crate::images::Progress = Arc::new(|_| {});
        for repository in from {
            let source = Source { repository, upstream: false, anew: true, flight: Arc::clone(&flight) };
            let follow = Follow::default();
            let fetched = self.fetch_once(lease, &source, descriptor, &follow, &quiet).await;
            follow.end(Ok(()));
            match fetched {
                Ok(()) => return Ok(()),
                Err((error, _)) => refused.note(error),
            }
        }
        Err(refused.error())
    }
}

/// A blob that holds a layer's content.
struct Content {
    images: Images,
    digest: Digest,
}

impl Content {
    fn of(images: &Images, blob: &Descriptor) -> Self {
        Self { images: images.clone(), digest: blob.digest.clone() }
    }

    async fn is_sound(&self) -> Result<bool> {
        let (images, digest) = (self.images.clone(), self.digest.clone());
        let looked = blocking(move || images.damage_of_blob(&digest, &mut super::Checked::default()));
        Ok(looked.await?.is_none())
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(unwrap(self.images.blobs.open(&self.digest)?).map_err(io("read a layer"))?.1)
    }
}

/// What registries said that could not help.
#[derive(Default)]
struct Refused(Option<Error>);

impl Refused {
    fn note(&mut self, error: Error) {
        self.0 = Some(error);
    }

    fn error(self) -> Error {
        match self.0 {
            None => Error::not_found(
                "the image was made or loaded here and never pushed, so no registry has it: remove it, and make or load it again",
            ),
            Some(last) => Error::wrap(last.kind(), "fetch it again", last),
        }
    }
}
