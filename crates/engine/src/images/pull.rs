//! Pulling: manifest, configuration, blobs; see `layers` for what is done with layers while they come.

use super::follow::Follow;
use super::lease::Lease;
use super::progress::{Event, Progress, Throttle, short};
use super::record::Image;
use super::unpack::check_count;
use super::{Images, blocking, io};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;
use wharf_distribution::client::{Credentials, Fetched, Repository};
use wharf_model::blobs::Ingest;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::{Descriptor, Document, Manifest};
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// Pieces of a blob between network and disk.
const QUEUE: usize = 16;
/// Bytes an image's configuration may have.
pub(super) const MAX_CONFIG: u64 = 8 << 20;
/// Indexes that lead from one to the next before there is a manifest: some tools wrap one in a second.
const MAX_NESTED: usize = 4;

impl Images {
    /// Pulls an image and gives it its name. Nothing is visible before all of it is verified; what was fetched
    /// of a broken pull is used by the next.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        credentials: Credentials,
        progress: Progress,
    ) -> Result<Arc<Image>> {
        let reference = reference.clone().or_latest();
        let repository = self.client.repository(&reference, credentials);
        let lease = Arc::new(Lease::new(&self.leases));
        let result = self.pull_into(&lease, &repository, &reference, platform, &progress).await;
        lease.idle().await;
        let images = self.clone();
        let cleaned = blocking(move || images.end_lease(lease)).await;
        let image = result?;
        cleaned?;
        self.drop_compressed_later(&image);
        Ok(image)
    }

    /// Pulls every tag of a repository.
    pub async fn pull_all(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        credentials: Credentials,
        progress: Progress,
    ) -> Result<Vec<(Reference, Arc<Image>)>> {
        let repository = self.client.repository(reference, credentials.clone());
        let tags = repository.tags().await.map_err(|e| explain(e, reference))?;
        let mut images = Vec::new();
        for tag in tags {
            let tagged = reference
                .with_tag(&tag)
                .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the registry's tags", e))?;
            let image = self.pull(&tagged, platform, credentials.clone(), Arc::clone(&progress)).await?;
            images.push((tagged, image));
        }
        Ok(images)
    }

    async fn pull_into(
        &self,
        lease: &Arc<Lease>,
        repository: &Repository,
        reference: &Reference,
        platform: Option<&Platform>,
        progress: &Progress,
    ) -> Result<Arc<Image>> {
        let top = repository.manifest(reference.selector()).await.map_err(|e| explain(e, reference))?;
        // Nothing is told before the registry has it: a failure until here has a status of its own.
        progress(Event::PullingFrom {
            selector: reference.selector().to_owned(),
            path: reference.path().to_owned(),
        });
        let top_digest = top.digest.clone();
        self.admit(repository, reference, &top_digest).await?;
        let (fetched, manifest) = choose(repository, top, platform).await?;
        let config = self.config(lease, repository, &manifest, platform, reference).await?;
        let known = self.table().images.get(&manifest.config.digest).cloned();
        let known = known.and_then(|image| self.hold_image(lease, &image).ok());
        let is_new = known.is_none();
        let image = match known {
            Some(image) if self.is_complete(&image)? => image,
            _ => {
                let parsed: ImageConfig = serde_json::from_slice(&config)
                    .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the image's configuration", e))?;
                let layers = self.layers(lease, repository, &manifest, &parsed, progress).await?;
                let descriptor = Descriptor::new(
                    fetched.media_type.clone(),
                    fetched.digest.clone(),
                    fetched.body.len() as u64,
                );
                lease.hold(&fetched.digest);
                self.store_manifest(fetched).await?;
                self.record(lease, config.to_vec(), layers, Some(descriptor), None, &[]).await?
            }
        };
        let mut names = vec![reference.with_digest(top_digest.clone())];
        if reference.digest().is_none() {
            names.push(reference.clone());
        }
        let moved = names.iter().any(|name| self.table().names.get(name) != Some(&image.id));
        let image = {
            let mut table = self.table();
            // It may be kept in another form by now; one that was removed is here still, held.
            let image = table.now(&image).unwrap_or(image);
            let image = Image { tagged_ns: super::tag::now_ns(), ..(*image).clone() };
            table.put(&*self.records, image, &names)?
        };
        progress(Event::Digest(top_digest));
        let what = if is_new || moved { "Downloaded newer image for" } else { "Image is up to date for" };
        progress(Event::Status(format!("{what} {}", reference.familiar())));
        Ok(image)
    }

    /// Whether everything of a recorded image is still there.
    fn is_complete(&self, image: &Image) -> Result<bool> {
        for digest in image.blobs() {
            if self.blobs.size(digest)?.is_none() {
                return Ok(false);
            }
        }
        match image.chain() {
            Some(chain) => Ok(self.snapshots.layer(&chain)?.is_some()),
            None => Ok(true),
        }
    }

    async fn config(
        &self,
        lease: &Arc<Lease>,
        repository: &Repository,
        manifest: &Manifest,
        platform: Option<&Platform>,
        reference: &Reference,
    ) -> Result<Bytes> {
        if !manifest.is_image() {
            return Err(Error::unsupported(format!(
                "{} is no image but an artifact of the type {}: it cannot be run",
                reference.familiar(),
                manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type)
            )));
        }
        lease.hold(&manifest.config.digest);
        let bytes = repository.small_blob(&manifest.config.digest, manifest.config.size, MAX_CONFIG).await?;
        let config: ImageConfig = serde_json::from_slice(&bytes)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the image's configuration", e))?;
        check_count(config.rootfs.diff_ids.len(), manifest.layers.len())?;
        if let Some(wanted) = platform
            && !config.platform.os.is_empty()
            && wanted.rank(&config.platform).is_none()
        {
            return Err(Error::not_found(format!(
                "image with reference {} was found but its platform ({}) does not match the specified platform ({wanted})",
                reference.familiar(),
                config.platform
            )));
        }
        Ok(bytes)
    }

    async fn store_manifest(&self, fetched: Fetched) -> Result<()> {
        let _flight = self.flights.join(&fetched.digest).await;
        let blobs = Arc::clone(&self.blobs);
        blocking(move || {
            if blobs.size(&fetched.digest)?.is_some() {
                return Ok(());
            }
            let mut ingest = blobs.ingest(&format!("manifest-{}", fetched.digest))?;
            ingest.restart()?;
            ingest.write_all(&fetched.body).map_err(io("write a manifest"))?;
            ingest.commit(Some(&fetched.digest)).map(drop)
        })
        .await
    }

    /// Fetches one blob, unless it is here or another pull is at it.
    pub(super) async fn fetch(
        &self,
        lease: &Lease,
        repository: &Repository,
        descriptor: &Descriptor,
        follow: &Follow,
        progress: &Progress,
    ) -> Result<()> {
        let flight = Arc::new(self.flights.join(&descriptor.digest).await);
        let id = short(&descriptor.digest);
        let (blobs, digest) = (Arc::clone(&self.blobs), descriptor.digest.clone());
        let present = blocking(move || match blobs.size(&digest)? {
            Some(size) => Ok(Some((size, blobs.open(&digest)?))),
            None => Ok(None),
        });
        if let Some((size, file)) = present.await? {
            follow.begin(file, size);
            follow.end(Ok(()));
            progress(Event::AlreadyExists { id });
            return Ok(());
        }
        let source = Source { repository, upstream: false, anew: false, flight: Arc::clone(&flight) };
        let first = self.fetch_once(lease, &source, descriptor, follow, progress).await;
        match first {
            // What an earlier attempt left, or what a mirror has, was damaged: all of it is fetched anew.
            Err((error, true)) if error.kind() == ErrorKind::Invalid => {
                tracing::warn!(digest = %descriptor.digest, error = error.full(), "a download was damaged");
                let source = Source { repository, upstream: true, anew: true, flight };
                if let Err((error, _)) = self.fetch_once(lease, &source, descriptor, follow, progress).await {
                    follow.end(Err(error.full()));
                    return Err(error);
                }
            }
            Err((error, _)) => {
                follow.end(Err(error.full()));
                return Err(error);
            }
            Ok(()) => {}
        }
        follow.end(Ok(()));
        progress(Event::Downloaded { id });
        Ok(())
    }

    /// The error comes with whether another attempt may fare better, without the bytes of an earlier one or of a mirror.
    pub(super) async fn fetch_once(
        &self,
        lease: &Lease,
        source: &Source<'_>,
        descriptor: &Descriptor,
        follow: &Follow,
        progress: &Progress,
    ) -> Result<(), (Error, bool)> {
        let (size, anew) = (descriptor.size, source.anew);
        let (blobs, name) = (Arc::clone(&self.blobs), format!("pull-{}", descriptor.digest));
        let begun = blocking(move || {
            let mut ingest = blobs.ingest(&name)?;
            if anew || ingest.offset() > size {
                ingest.restart()?;
            }
            Ok((ingest.reader()?, ingest))
        });
        let (reader, ingest) = begun.await.map_err(|e| (e, false))?;
        let start = ingest.offset();
        let doubtful = start > 0 || (!source.upstream && source.repository.has_mirrors());
        follow.begin(reader, start);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writing = {
            let (follow, progress, id) = (follow.clone(), Arc::clone(progress), short(&descriptor.digest));
            let begun = Begun(Some(ingest), Arc::clone(&source.flight));
            crate::transfer::run(move || write(begun, receiver, size, &follow, &progress, &id))
        };
        let fetching = async {
            let fetched = match source.upstream {
                true => source.repository.download_upstream(descriptor, start, &sender).await,
                false => source.repository.download(descriptor, start, &sender).await,
            };
            // Its end is the writer's.
            drop(sender);
            fetched
        };
        let (fetched, written) = tokio::join!(fetching, writing);
        let (begun, written) = written.map_err(|e| (e, doubtful))?;
        if let Err(error) = written.and(fetched) {
            if error.kind() == ErrorKind::Invalid {
                begun.discard();
            }
            return Err((error, doubtful));
        }
        progress(Event::Verifying { id: short(&descriptor.digest) });
        let (digest, working) = (descriptor.digest.clone(), lease.at_work().await);
        let committed = blocking(move || {
            let _working = working;
            begun.commit(&digest)
        });
        committed.await.map_err(|e| (e, doubtful))
    }
}

/// Where a blob is fetched from, and how.
pub(super) struct Source<'a> {
    pub(super) repository: &'a Repository,
    /// Mirrors are left out.
    pub(super) upstream: bool,
    /// What an earlier attempt left is thrown away.
    pub(super) anew: bool,
    pub(super) flight: Flight,
}

/// Keeps others from fetching the same, also until a blocking thread is done with what was given up.
pub(super) type Flight = Arc<tokio::sync::OwnedMutexGuard<()>>;

/// A blob on its way to the disk. What is there when the pull breaks or is given up is kept for the next.
struct Begun(Option<Box<dyn Ingest>>, #[expect(dead_code, reason = "held until it is dropped")] Flight);

impl Begun {
    /// Throws away what is known to be wrong.
    fn discard(mut self) {
        self.0 = None;
    }

    fn commit(mut self, digest: &Digest) -> Result<()> {
        self.0.take().map_or(Ok(()), |ingest| ingest.commit(Some(digest)).map(drop))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // That failing too is worth a word, but not the reason.
        if let Some(Err(kept)) = self.0.take().map(Ingest::keep) {
            tracing::warn!(error = kept.full(), "what was fetched cannot be kept");
        }
    }
}

fn write(
    mut begun: Begun,
    mut pieces: mpsc::Receiver<Bytes>,
    size: u64,
    follow: &Follow,
    progress: &Progress,
    id: &str,
) -> (Begun, Result<()>) {
    let mut throttle = Throttle::new();
    while let Some(piece) = pieces.blocking_recv() {
        let Some(ingest) = &mut begun.0 else { break };
        if let Err(e) = ingest.write_all(&piece) {
            return (begun, Err(Error::wrap(ErrorKind::Internal, "write a layer to the disk", e)));
        }
        follow.advance(ingest.offset());
        if throttle.is_due(ingest.offset(), size) {
            progress(Event::Downloading { id: id.to_owned(), current: ingest.offset(), total: size });
        }
    }
    (begun, Ok(()))
}

/// The manifest of an image: of an index the one for the platform.
pub(super) async fn choose(
    repository: &Repository,
    top: Fetched,
    platform: Option<&Platform>,
) -> Result<(Fetched, Box<Manifest>)> {
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let mut fetched = top;
    for _ in 0..=MAX_NESTED {
        let index = match &fetched.document {
            Document::Manifest(manifest) => {
                let manifest = manifest.clone();
                return Ok((fetched, manifest));
            }
            Document::Index(index) => index,
        };
        let entry = index.choose(&wanted).ok_or_else(|| {
            Error::not_found(format!(
                "no matching manifest for {wanted} in the manifest list entries (there are: {})",
                index.offered()
            ))
        })?;
        fetched = repository.manifest(entry.digest.as_str()).await?;
    }
    Err(Error::invalid(format!("more than {MAX_NESTED} indexes lead from one to the next")))
}

/// Docker's words for what people see most.
pub(super) fn explain(error: Error, reference: &Reference) -> Error {
    let full = error.full();
    match error.kind() {
        ErrorKind::NotFound => {
            Error::not_found(format!("manifest for {} not found: {full}", reference.familiar()))
        }
        // As Docker: to who may not see it, it is not there. Told that it lacks a login, its client would ask for one, and wait.
        ErrorKind::Unauthorised | ErrorKind::Forbidden => Error::not_found(format!(
            "pull access denied for {}, repository does not exist or may require 'docker login': {full}",
            reference.familiar_name()
        )),
        _ => error,
    }
}
