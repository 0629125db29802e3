//! The layers of a pull: each is fetched, inflated, hashed and stored in one pass, side by side where the store takes
//! layers before those below them are there.

use super::Images;
use super::compress::unwrap_ahead;
use super::follow::{EndGuard, Follow};
use super::lease::Lease;
use super::progress::{Event, Progress, Throttle, short};
use super::record::ImageLayer;
use super::{blocking, ended, io, transfer};
use std::io::Read;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wharf_distribution::client::Repository;
use wharf_model::snapshots::Received;
use wharf_model::{Error, Result};
use wharf_oci::digest::{ChainId, DiffId};
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::{Descriptor, Manifest};

/// Layers fetched side by side, as many as Docker does.
const MAX_DOWNLOADS: usize = 3;

/// A layer on its way.
#[derive(Clone)]
struct Coming {
    layer: ImageLayer,
    /// As the manifest names it, with the places it may be had from.
    descriptor: Descriptor,
    follow: Follow,
}

/// Where a pull gets its layers from, and whom it tells.
#[derive(Clone)]
struct Way {
    lease: Arc<Lease>,
    repository: Repository,
    permits: Arc<Semaphore>,
    progress: Progress,
}

impl Images {
    pub(super) async fn layers(
        &self,
        lease: &Arc<Lease>,
        repository: &Repository,
        manifest: &Manifest,
        config: &ImageConfig,
        progress: &Progress,
    ) -> Result<Vec<ImageLayer>> {
        let mut coming = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            if descriptor.compression().is_none() {
                return Err(Error::unsupported(format!(
                    "a layer of the image has the media type {}, which is no file tree",
                    descriptor.media_type
                )));
            }
            progress(Event::PullingLayer { id: short(&descriptor.digest) });
            lease.hold(&descriptor.digest);
            let layer = self.expected(lease, descriptor, diff_id)?;
            coming.push(Coming { layer, descriptor: descriptor.clone(), follow: Follow::default() });
        }
        let way = Way {
            lease: Arc::clone(lease),
            repository: repository.clone(),
            permits: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
            progress: Arc::clone(progress),
        };
        if self.snapshots.receives() {
            self.receive_all(&way, &coming).await?;
        } else {
            self.unpack_all(&way, &coming).await?;
        }
        Ok(coming.into_iter().map(|coming| coming.layer).collect())
    }

    /// A layer of a manifest as it will be kept: as a plain tar when one is here in its place already.
    fn expected(&self, lease: &Lease, descriptor: &Descriptor, diff_id: &DiffId) -> Result<ImageLayer> {
        if let Some(known) = self.known_layer(&descriptor.digest, diff_id) {
            lease.hold(&known.blob.digest);
            if self.blobs.size(&known.blob.digest)?.is_some() {
                return Ok(known);
            }
        }
        let blob = Descriptor { urls: Vec::new(), ..descriptor.clone() };
        Ok(ImageLayer { diff_id: diff_id.clone(), blob, compressed: None })
    }

    /// Takes the layers in whatever order they come, and puts them in their places when all are here.
    async fn receive_all(&self, way: &Way, coming: &[Coming]) -> Result<()> {
        let mut tasks = JoinSet::new();
        let mut chain: Option<ChainId> = None;
        for (at, one) in coming.iter().enumerate() {
            let id = ChainId::extend(chain.as_ref(), &one.layer.diff_id);
            way.lease.hold(&id.0);
            let is_here = self.snapshots.layer(&id)?.is_some();
            chain = Some(id);
            let (images, way, one) = (self.clone(), way.clone(), one.clone());
            tasks.spawn(async move { Ok::<_, Error>((at, images.receive_one(&way, one, is_here).await?)) });
        }
        let mut received: Vec<Option<Received>> = coming.iter().map(|_| None).collect();
        while let Some(done) = tasks.join_next().await {
            let (at, layer) = done.map_err(ended)??;
            received[at] = layer;
        }
        let mut parent = None;
        for (one, received) in coming.iter().zip(received) {
            parent = Some(self.place(way, parent, &one.layer.diff_id, received).await?);
        }
        let (Some(chain), snapshots) = (parent, Arc::clone(&self.snapshots)) else { return Ok(()) };
        let working = way.lease.at_work().await;
        blocking(move || {
            let _working = working;
            snapshots.ready(&chain)
        })
        .await
    }

    async fn place(
        &self,
        way: &Way,
        parent: Option<ChainId>,
        diff_id: &DiffId,
        received: Option<Received>,
    ) -> Result<ChainId> {
        let chain = ChainId::extend(parent.as_ref(), diff_id);
        let Some(received) = received else { return Ok(chain) };
        let _flight = self.layer_flights.join(&chain.0).await;
        let snapshots = Arc::clone(&self.snapshots);
        let working = way.lease.at_work().await;
        blocking(move || {
            let _working = working;
            snapshots.place(parent.as_ref(), &received)
        })
        .await?;
        Ok(chain)
    }

    /// Fetches a layer and takes it while it comes. `None` when it is in its place already.
    async fn receive_one(&self, way: &Way, coming: Coming, is_here: bool) -> Result<Option<Received>> {
        let id = short(&coming.descriptor.digest);
        let guard = EndGuard(coming.follow.clone());
        let permit = way.permits.acquire().await.map_err(|_| Error::internal("the pull was given up"))?;
        // What is kept in another form is here.
        let wanted = if coming.layer.compressed.is_some() { &coming.layer.blob } else { &coming.descriptor };
        let fetching = self.fetch(&way.lease, &way.repository, wanted, &guard.0, &way.progress);
        if is_here {
            fetching.await?;
            self.check_pair(&coming.layer).await.map_err(|e| of_layer(&coming, e))?;
            (way.progress)(Event::Pulled { id });
            return Ok(None);
        }
        if coming.layer.blob.digest == coming.layer.diff_id.0 {
            // A plain tar is on the disk once, so it cannot be taken while it comes.
            fetching.await?;
            let received = self.receive_blob(&way.lease, &coming.layer).await;
            (way.progress)(Event::Pulled { id });
            return received.map(Some).map_err(|e| of_layer(&coming, e));
        }
        let receiving = self.receive(&way.lease, &coming.layer, following(way, &coming));
        let (fetched, received) = tokio::join!(fetching, receiving);
        drop(permit);
        // A download's own error says more than that of the reading it breaks.
        fetched?;
        let received = match received {
            Ok(received) => received,
            Err(error) if coming.follow.was_restarted() => {
                // All is here and verified: a transfer that was begun again only disturbed its reader.
                tracing::debug!(error = error.full(), "taking the layer from its blob");
                self.receive_blob(&way.lease, &coming.layer).await.map_err(|e| of_layer(&coming, e))?
            }
            Err(error) => return Err(of_layer(&coming, error)),
        };
        (way.progress)(Event::Pulled { id });
        Ok(Some(received))
    }

    /// Fetches the layers side by side and unpacks them in order, each while it arrives.
    async fn unpack_all(&self, way: &Way, coming: &[Coming]) -> Result<()> {
        let mut downloads = JoinSet::new();
        for one in coming.iter().cloned() {
            let (images, way) = (self.clone(), way.clone());
            downloads.spawn(async move {
                let guard = EndGuard(one.follow);
                let _permit =
                    way.permits.acquire().await.map_err(|_| Error::internal("the pull was given up"))?;
                let wanted = if one.layer.compressed.is_some() { &one.layer.blob } else { &one.descriptor };
                images.fetch(&way.lease, &way.repository, wanted, &guard.0, &way.progress).await
            });
        }
        let unpacking = self.unpack_as_they_come(way, coming);
        tokio::pin!(unpacking);
        let mut unpacked = false;
        // A download's own error says more than that of the unpacking it breaks.
        while !unpacked || !downloads.is_empty() {
            tokio::select! {
                biased;
                Some(download) = downloads.join_next() => download.map_err(ended)??,
                result = &mut unpacking, if !unpacked => {
                    unpacked = true;
                    if let Err(error) = result {
                        // A download that broke it says so itself.
                        while let Some(download) = downloads.join_next().await {
                            download.map_err(ended)??;
                        }
                        if !coming.iter().any(|one| one.follow.was_restarted()) {
                            return Err(error);
                        }
                        // All is here and verified: a transfer that was begun again only disturbed its reader.
                        tracing::debug!(error = error.full(), "unpacking from the blobs");
                        let all: Vec<ImageLayer> = coming.iter().map(|one| one.layer.clone()).collect();
                        self.unpack_blobs(&way.lease, &all).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn unpack_as_they_come(&self, way: &Way, coming: &[Coming]) -> Result<()> {
        let mut parent: Option<ChainId> = None;
        for one in coming {
            let open = following(way, one);
            let is_known = self.is_known(&one.layer);
            let unpacked = self.unpack(&way.lease, parent.as_ref(), &one.layer.diff_id, open, is_known).await;
            let unpacked = unpacked.map_err(|e| of_layer(one, e))?;
            parent = Some(unpacked.chain_id);
            (way.progress)(Event::Pulled { id: short(&one.layer.blob.digest) });
        }
        Ok(())
    }

    /// Takes a layer before its place is known. `open` gives the blob's bytes, wrapped or not.
    pub(super) async fn receive(
        &self,
        lease: &Arc<Lease>,
        layer: &ImageLayer,
        open: impl FnOnce() -> Result<Box<dyn Read + Send>> + Send + 'static,
    ) -> Result<Received> {
        // Whoever comes second finds it.
        let _flight = self.layer_flights.join(&layer.diff_id.0).await;
        let (snapshots, diff_id) = (Arc::clone(&self.snapshots), layer.diff_id.clone());
        let working = lease.at_work().await;
        transfer(move || {
            let _working = working;
            let mut tar = unwrap_ahead(open()?).map_err(io("read a layer"))?;
            received(snapshots.receive(&diff_id, &mut tar)?)
        })
        .await
    }

    /// The same from a blob that is here; one that is not wrapped becomes the layer's own file as well.
    pub(super) async fn receive_blob(&self, lease: &Arc<Lease>, layer: &ImageLayer) -> Result<Received> {
        let (blobs, digest) = (Arc::clone(&self.blobs), layer.blob.digest.clone());
        if digest != layer.diff_id.0 {
            return self.receive(lease, layer, move || Ok(Box::new(blobs.open(&digest)?) as Box<_>)).await;
        }
        let (snapshots, diff_id) = (Arc::clone(&self.snapshots), layer.diff_id.clone());
        let working = lease.at_work().await;
        blocking(move || {
            let _working = working;
            received(snapshots.adopt(&diff_id, &blobs.open(&digest)?)?)
        })
        .await
    }
}

/// An error with the layer it is about.
fn of_layer(coming: &Coming, error: Error) -> Error {
    Error::wrap(error.kind(), format!("failed to register layer {}", coming.descriptor.digest), error)
}

fn received(received: Option<Received>) -> Result<Received> {
    received.ok_or_else(|| Error::internal("the store takes layers only in their place"))
}

/// The bytes of a layer while they come; how many were read is told.
fn following(way: &Way, coming: &Coming) -> impl FnOnce() -> Result<Box<dyn Read + Send>> + Send + use<> {
    let (progress, follow) = (Arc::clone(&way.progress), coming.follow.clone());
    let (id, total) = (short(&coming.layer.blob.digest), coming.layer.blob.size);
    move || {
        let reader = follow.reader().map_err(io("read a layer that is being fetched"))?;
        let tell = move |current| progress(Event::Extracting { id: id.clone(), current, total });
        Ok(Box::new(Watched::new(reader, total, tell)) as Box<dyn Read + Send>)
    }
}

/// Tells how much was read.
pub(super) struct Watched<R, F> {
    inner: R,
    read: u64,
    size: u64,
    throttle: Throttle,
    tell: F,
}

impl<R, F: Fn(u64)> Watched<R, F> {
    /// `size` are the bytes there will be.
    pub(super) fn new(inner: R, size: u64, tell: F) -> Self {
        Self { inner, read: 0, size, throttle: Throttle::new(), tell }
    }
}

impl<R: Read, F: Fn(u64)> Read for Watched<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        if n > 0 && self.throttle.is_due(self.read, self.size) {
            (self.tell)(self.read);
        }
        Ok(n)
    }
}
