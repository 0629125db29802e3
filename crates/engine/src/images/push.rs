//! Pushing: layers the registry lacks, configuration, manifest.

use super::compress::{Counting, gzip};
use super::layers::Watched;
use super::lease::Lease;
use super::progress::{Event, Progress, Throttle, short};
use super::record::{Image, ImageLayer};
use super::{Images, blocking, ended, io};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use wharf_distribution::client::{Credentials, Made, Mount, Repository, Sent};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Compression, Descriptor, Manifest, media};
use wharf_oci::reference::Reference;

/// Layers sent side by side, as many as Docker does.
const MAX_UPLOADS: usize = 5;

impl Images {
    /// Pushes the image that has this name. Layers kept uncompressed are compressed on the way, always to the
    /// same bytes; what the registry has is not sent again.
    pub async fn push(
        &self,
        reference: &Reference,
        credentials: Credentials,
        progress: Progress,
    ) -> Result<Digest> {
        let reference = reference.clone().or_latest();
        if reference.digest().is_some() {
            return Err(Error::invalid("cannot push a digest reference: push a tag"));
        }
        let found = self.table().names.get(&reference).cloned();
        let image = found.and_then(|id| self.table().images.get(&id).cloned()).ok_or_else(|| {
            let text = format!("An image does not exist locally with the tag: {}", reference.familiar_name());
            Error::not_found(text)
        })?;
        let lease = Arc::new(Lease::new(&self.leases));
        let result = self.push_image(&lease, &image, &reference, credentials, &progress).await;
        let images = self.clone();
        let cleaned = blocking(move || images.end_lease(lease)).await;
        let digest = result?;
        cleaned?;
        Ok(digest)
    }

    /// Pushes every tag that a repository has here, by name.
    pub async fn push_all(
        &self,
        reference: &Reference,
        credentials: Credentials,
        progress: Progress,
    ) -> Result<Vec<Reference>> {
        let repository = reference.repository();
        let mut names: Vec<Reference> = self.table().names.keys().cloned().collect();
        names.retain(|name| {
            name.repository() == repository && name.tag().is_some() && name.digest().is_none()
        });
        names.sort();
        if names.is_empty() {
            let text = format!("An image does not exist locally with the tag: {}", reference.familiar_name());
            return Err(Error::not_found(text));
        }
        for name in &names {
            self.push(name, credentials.clone(), Arc::clone(&progress)).await?;
        }
        Ok(names)
    }

    async fn push_image(
        &self,
        lease: &Arc<Lease>,
        image: &Arc<Image>,
        reference: &Reference,
        credentials: Credentials,
        progress: &Progress,
    ) -> Result<Digest> {
        let image = &self.hold_image(lease, image)?;
        // Where nothing may be pushed, nothing is sent.
        let needs_signature = self.needs_signature(reference)?;
        progress(Event::PushingTo { repository: reference.repository() });
        let repository = self.client.repository(reference, credentials);
        let sources = self.mount_sources(image, reference);
        let permits = Arc::new(Semaphore::new(MAX_UPLOADS));
        let mut uploads = JoinSet::new();
        for (at, layer) in image.layers.iter().enumerate() {
            progress(Event::Preparing { id: short(&layer.diff_id.0) });
            let (images, repository, lease) = (self.clone(), repository.clone(), Arc::clone(lease));
            let (layer, progress, permits) = (layer.clone(), Arc::clone(progress), Arc::clone(&permits));
            let sources = sources.clone();
            uploads.spawn(async move {
                let _permit =
                    permits.acquire().await.map_err(|_| Error::internal("the push was given up"))?;
                let pushed = images.push_layer(&lease, &repository, &layer, &sources, &progress).await?;
                Ok::<_, Error>((at, pushed))
            });
        }
        let mut pushed: BTreeMap<usize, Descriptor> = BTreeMap::new();
        while let Some(upload) = uploads.join_next().await {
            let (at, descriptor) = upload.map_err(ended)?.map_err(|e| explain(e, reference))?;
            pushed.insert(at, descriptor);
        }
        let (blobs, id) = (Arc::clone(&self.blobs), image.id.clone());
        let config = blocking(move || {
            let mut bytes = Vec::new();
            blobs.open(&id)?.read_to_end(&mut bytes).map_err(io("read an image's configuration"))?;
            Ok(Bytes::from(bytes))
        });
        repository.upload_bytes(&config.await?).await.map_err(|e| explain(e, reference))?;
        let layers: Vec<Descriptor> = pushed.into_values().collect();
        let (media_type, body) = self.manifest_for(image, &layers).await?;
        let tag = reference.tag().unwrap_or(wharf_oci::reference::DEFAULT_TAG);
        if needs_signature {
            let digest = Digest::sha256(&body);
            let put = repository.put_manifest(digest.as_str(), &media_type, body.clone()).await;
            put.map_err(|e| explain(e, reference))?;
            self.may_be_tagged(&repository, reference, &digest).await?;
        }
        let digest = repository
            .put_manifest(tag, &media_type, body.clone())
            .await
            .map_err(|e| explain(e, reference))?;
        lease.hold(&digest);
        let size = body.len() as u64;
        let descriptor = Descriptor::new(media_type, digest.clone(), size);
        let (images, image, name) = (self.clone(), Arc::clone(image), reference.with_digest(digest.clone()));
        blocking(move || images.remember_push(&image, descriptor, &body, &layers, name)).await?;
        progress(Event::PushedManifest { tag: tag.to_owned(), digest: digest.clone(), size });
        Ok(digest)
    }

    /// What the push found out: the manifest, what layers compress to, and the name with the digest.
    fn remember_push(
        &self,
        image: &Image,
        manifest: Descriptor,
        body: &[u8],
        layers: &[Descriptor],
        name: Reference,
    ) -> Result<()> {
        self.blobs.put(body)?;
        let mut table = self.table();
        // Removed meanwhile: there is nothing to remember it for.
        let Some(current) = table.images.get(&image.id) else { return Ok(()) };
        let mut image = (**current).clone();
        for (layer, sent) in image.layers.iter_mut().zip(layers) {
            if layer.blob.digest != sent.digest {
                layer.compressed = Some(sent.clone());
            }
        }
        image.manifest = Some(manifest);
        table.put(&*self.records, image, &[name]).map(drop)
    }

    /// Repositories of the same registry that have had this image.
    fn mount_sources(&self, image: &Image, reference: &Reference) -> Vec<String> {
        let (_, digests) = self.table().names_of(&image.id);
        let others =
            digests.iter().filter(|d| d.domain() == reference.domain() && d.path() != reference.path());
        others.map(|d| d.path().to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    async fn push_layer(
        &self,
        lease: &Arc<Lease>,
        repository: &Repository,
        layer: &ImageLayer,
        sources: &[String],
        progress: &Progress,
    ) -> Result<Descriptor> {
        let id = short(&layer.diff_id.0);
        // Manifests may call plain what is compressed.
        let plain =
            layer.blob.compression() == Some(Compression::None) && layer.blob.digest == layer.diff_id.0;
        let known = if plain { layer.compressed.clone() } else { Some(layer.blob.clone()) };
        if let Some(known) = known {
            if repository.blob_size(&known.digest).await?.is_some() {
                progress(Event::LayerExists { id });
                return Ok(known);
            }
            for from in sources {
                if repository.mount(&known.digest, from).await? == Mount::Done {
                    progress(Event::Mounted { id, from: from.clone() });
                    return Ok(known);
                }
            }
        }
        if plain {
            return self.push_plain(lease, repository, layer, progress).await;
        }
        let descriptor = layer.blob.clone();
        let (blobs, digest) = (Arc::clone(&self.blobs), descriptor.digest.clone());
        let file = blocking(move || blobs.open(&digest)).await?;
        let bar = Mutex::new((0, Throttle::new()));
        let (telling, bar_id, total) = (Arc::clone(progress), id.clone(), descriptor.size);
        let sent: Sent = Arc::new(move |bytes| {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            bar.0 += bytes;
            let current = bar.0.min(total);
            if bar.1.is_due(current, total) {
                telling(Event::Pushing { id: bar_id.clone(), current, total });
            }
        });
        let was_sent = repository.upload(&descriptor.digest, descriptor.size, &file, sent).await?;
        progress(if was_sent { Event::Pushed { id } } else { Event::LayerExists { id } });
        Ok(descriptor)
    }

    /// Compresses a layer that is kept plain while it is sent.
    async fn push_plain(
        &self,
        lease: &Arc<Lease>,
        repository: &Repository,
        layer: &ImageLayer,
        progress: &Progress,
    ) -> Result<Descriptor> {
        let id = short(&layer.diff_id.0);
        let _working = lease.at_work().await;
        let total = layer.blob.size;
        let made = || {
            let (telling, id) = (Arc::clone(progress), id.clone());
            let tell = move |current| telling(Event::Pushing { id: id.clone(), current, total });
            let (blobs, source) = (Arc::clone(&self.blobs), layer.blob.digest.clone());
            compressing(move || Ok(Watched::new(blobs.open(&source)?, total, tell)))
        };
        let (digest, size) = repository.upload_made(&made).await?;
        progress(Event::Pushed { id });
        Ok(Descriptor::new(media::DOCKER_LAYER_GZIP, digest, size))
    }

    /// The manifest the image came with, if that still says the truth; else one of our own: Docker's schema 2,
    /// which every registry takes, or OCI's when a layer is one that only OCI knows.
    async fn manifest_for(&self, image: &Image, layers: &[Descriptor]) -> Result<(String, Bytes)> {
        if let Some(descriptor) = &image.manifest {
            let (blobs, digest) = (Arc::clone(&self.blobs), descriptor.digest.clone());
            let bytes = blocking(move || {
                let mut bytes = Vec::new();
                blobs.open(&digest)?.read_to_end(&mut bytes).map_err(io("read a manifest"))?;
                Ok(Bytes::from(bytes))
            })
            .await?;
            let same = serde_json::from_slice::<Manifest>(&bytes).is_ok_and(|manifest| {
                manifest.config.digest == image.id
                    && manifest.layers.iter().map(|l| &l.digest).eq(layers.iter().map(|l| &l.digest))
            });
            if same {
                return Ok((descriptor.media_type.clone(), bytes));
            }
        }
        let docker = layers.iter().all(|layer| layer.compression() == Some(Compression::Gzip));
        let (manifest_type, config_type, layer_type): (_, _, fn(Compression) -> &'static str) = match docker {
            true => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG, |_| media::DOCKER_LAYER_GZIP),
            false => (media::OCI_MANIFEST, media::OCI_CONFIG, Compression::layer_media_type),
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            artifact_type: None,
            config: Descriptor::new(config_type, image.id.clone(), image.config_size),
            layers: layers
                .iter()
                .map(|layer| {
                    let kind = layer_type(layer.compression().unwrap_or(Compression::Gzip));
                    Descriptor::new(kind, layer.digest.clone(), layer.size)
                })
                .collect(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        let body = serde_json::to_vec(&manifest)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write a manifest", e))?;
        Ok((manifest_type.to_owned(), body.into()))
    }
}

/// Pieces between the compressor and the network.
const QUEUE: usize = 8;

/// Compresses on a thread of its own.
fn compressing<R: Read + Send>(open: impl FnOnce() -> Result<R> + Send + 'static) -> Made {
    let (sender, pieces) = mpsc::channel(QUEUE);
    let (told, digest) = oneshot::channel();
    crate::transfer::spawn(move || {
        let mut out = Counting::new(Pieces(sender));
        let source = open().map_err(|e| std::io::Error::other(e.full()));
        match source.and_then(|source| gzip(source, &mut out)) {
            Ok(()) => {
                let (_, digest, size) = out.finish();
                // Nobody waits for what was given up.
                let _ = told.send((digest, size));
            }
            Err(e) => {
                let (Pieces(sender), ..) = out.finish();
                let _ = sender.blocking_send(Err(e));
            }
        }
    });
    Made { pieces, digest }
}

/// Each write is a piece.
struct Pieces(mpsc::Sender<std::io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) fn explain(error: Error, reference: &Reference) -> Error {
    match error.kind() {
        // The registry knows who it is and says why: another login need not help against an unsigned image or a full
        // quota.
        ErrorKind::Forbidden => Error::new(
            error.kind(),
            format!(
                "push access denied for {}: {} refuses it: {}",
                reference.familiar_name(),
                reference.domain(),
                error.full()
            ),
        ),
        ErrorKind::Unauthorised => Error::new(
            error.kind(),
            format!(
                "push access denied for {}, log in with `login {}` as somebody who may: {}",
                reference.familiar_name(),
                reference.domain(),
                error.full()
            ),
        ),
        _ => error,
    }
}
