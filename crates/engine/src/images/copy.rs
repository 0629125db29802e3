//! Copying between registries, without an image of our own.

use super::progress::{Event, Progress, Throttle, short};
use super::{Images, ended};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use wharf_distribution::client::{Credentials, Fetched, Made, Mount, Repository};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document};
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// Blobs on their way side by side: each comes and goes at once.
const MAX_COPIES: usize = 3;
/// Pieces of a blob between one registry and the other.
const QUEUE: usize = 16;
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

/// From where to where, and what was told already.
#[derive(Clone)]
struct Route {
    source: Repository,
    target: Repository,
    permits: Arc<Semaphore>,
    progress: Progress,
    done: Arc<Mutex<BTreeSet<Digest>>>,
}

impl Images {
    /// Copies what a reference names to another: an index with all its images, or of them the one for a platform. What
    /// the target has is not sent; within one registry blobs are mounted. Returns the digest, which is the source's.
    pub async fn copy(
        &self,
        (from, from_credentials): (&Reference, Credentials),
        (to, to_credentials): (&Reference, Credentials),
        platform: Option<&Platform>,
        progress: Progress,
    ) -> Result<Digest> {
        let (from, to) = (from.clone().or_latest(), to.clone().or_latest());
        let route = Route {
            source: self.client.repository(&from, from_credentials),
            target: self.client.repository(&to, to_credentials),
            permits: Arc::new(Semaphore::new(MAX_COPIES)),
            progress,
            done: Arc::default(),
        };
        let top = route.source.manifest(from.selector()).await.map_err(|e| super::pull::explain(e, &from))?;
        self.admit(&route.source, &from, &top.digest).await?;
        let needs_signature = self.needs_signature(&to)? && to.tag().is_some();
        let top = match platform {
            Some(_) => super::pull::choose(&route.source, top, platform).await?.0,
            None => top,
        };
        if let Some(wanted) = to.digest().filter(|wanted| **wanted != top.digest) {
            return Err(Error::invalid(format!(
                "{} has the digest {}, not {wanted}",
                from.familiar(),
                top.digest
            )));
        }
        (route.progress)(Event::PushingTo { repository: to.repository() });
        if needs_signature {
            let copied = route.copy(&top, top.digest.as_str(), 0).await;
            copied.map_err(|e| super::push::explain(e, &to))?;
            self.may_be_tagged(&route.target, &to, &top.digest).await?;
        }
        let copied = route.copy(&top, to.selector(), 0).await;
        copied.map_err(|e| super::push::explain(e, &to))?;
        let size = top.body.len() as u64;
        (route.progress)(Event::PushedManifest {
            tag: to.tag().unwrap_or(to.selector()).to_owned(),
            digest: top.digest.clone(),
            size,
        });
        Ok(top.digest)
    }
}

impl Route {
    /// A document with all it names, those first.
    fn copy<'a>(
        &'a self,
        fetched: &'a Fetched,
        selector: &'a str,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            match &fetched.document {
                Document::Manifest(manifest) => {
                    let blobs = manifest.layers.iter().chain([&manifest.config]);
                    self.blobs(blobs.cloned().collect()).await?;
                }
                Document::Index(_) if depth == MAX_DEPTH => {
                    let text = format!("more than {MAX_DEPTH} indexes lead from one to the next");
                    return Err(Error::invalid(text));
                }
                Document::Index(index) => {
                    for entry in &index.manifests {
                        let selector = entry.digest.as_str();
                        if self.target.head_manifest(selector).await?.is_some() {
                            continue;
                        }
                        let inner = self.source.manifest(selector).await?;
                        self.copy(&inner, selector, depth + 1).await?;
                    }
                }
            }
            self.target.put_manifest(selector, &fetched.media_type, fetched.body.clone()).await.map(drop)
        })
    }

    async fn blobs(&self, blobs: Vec<Descriptor>) -> Result<()> {
        let mut copies = JoinSet::new();
        for blob in blobs {
            // Registries take manifests whose layers are elsewhere.
            let is_elsewhere = blob.is_foreign() && !blob.urls.is_empty();
            if is_elsewhere
                || !self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest.clone())
            {
                continue;
            }
            let route = self.clone();
            copies.spawn(async move {
                let _permit =
                    route.permits.acquire().await.map_err(|_| Error::internal("the copy was given up"))?;
                route.blob(&blob).await
            });
        }
        while let Some(copied) = copies.join_next().await {
            copied.map_err(ended)??;
        }
        Ok(())
    }

    async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let id = short(&blob.digest);
        if self.target.blob_size(&blob.digest).await?.is_some() {
            (self.progress)(Event::LayerExists { id });
            return Ok(());
        }
        if self.source.registry() == self.target.registry() {
            let from = self.source.path();
            if self.target.mount(&blob.digest, from).await? == Mount::Done {
                (self.progress)(Event::Mounted { id, from: from.to_owned() });
                return Ok(());
            }
        }
        let failed: Arc<Mutex<Option<Error>>> = Arc::default();
        let made = || self.coming(blob.clone(), &failed);
        let sent = self.target.upload_made(&made).await;
        // Why it did not come says more than that it could not be sent.
        if let (Err(_), Some(error)) = (&sent, failed.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            return Err(error);
        }
        sent?;
        (self.progress)(Event::Pushed { id });
        Ok(())
    }

    /// A blob on its way from the source.
    fn coming(&self, blob: Descriptor, failed: &Arc<Mutex<Option<Error>>>) -> Made {
        let (sender, mut fetched) = mpsc::channel(QUEUE);
        let (passed, pieces) = mpsc::channel(QUEUE);
        let (told, digest) = oneshot::channel();
        let (source, progress, failed) =
            (self.source.clone(), Arc::clone(&self.progress), Arc::clone(failed));
        tokio::spawn(async move {
            let downloading = async {
                let result = source.download(&blob, 0, &sender).await;
                drop(sender);
                result
            };
            let mut throttle = Throttle::new();
            let passing = async {
                let mut current = 0;
                while let Some(piece) = fetched.recv().await {
                    current += bytes::Bytes::len(&piece) as u64;
                    if throttle.is_due(current, blob.size) {
                        progress(Event::Pushing { id: short(&blob.digest), current, total: blob.size });
                    }
                    if passed.send(Ok(piece)).await.is_err() {
                        // Nobody wants the rest: the download ends, too.
                        fetched.close();
                    }
                }
                current == blob.size
            };
            match tokio::join!(downloading, passing) {
                (Ok(()), true) => drop(told.send((blob.digest, blob.size))),
                (Ok(()), false) => {}
                (Err(error), _) => {
                    // The upload must not end as if this were all.
                    let broken = std::io::Error::other(error.full());
                    if error.kind() != ErrorKind::Internal {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                    drop(passed.send(Err(broken)).await);
                }
            }
        });
        Made { pieces, digest }
    }
}
