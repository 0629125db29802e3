//! Repositories that are filled from other registries: on demand, and by the clock.
//!
//! Manifests and blobs are fetched when somebody asks for them first, verified, and stay. A blob is given out while it
//! comes, but for its last bytes, which wait until all of it is verified. A tag is asked for again
//! after a while; when the other registry cannot be reached, what is here is given out.

use super::entries::Folder;
use super::far::Far;
use super::live::Live;
use super::reply::Body;
use super::reply::Refusal;
use super::route::Selector;
use super::settings::{Mirror, Span};
use super::store::Stored;
use super::{App, blocking, filebody, manifests};
use crate::client::Repository;
use bytes::Bytes;
use futures_util::stream::try_unfold;
use http::StatusCode;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use wharf_model::blobs::Ingest;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document, media};
use wharf_signing::format::{Holds, MAX_SIGNATURES};

/// A tag is asked for again after this when nothing is said.
const REFRESH: Duration = Duration::from_secs(600);
/// Things fetched at the same time; who asks for the same waits for the one fetching.
const STRIPES: usize = 64;
/// Pieces of a blob between network and disk.
const QUEUE: usize = 4;

/// A registry that others' repositories come from.
pub(super) struct Upstream {
    mirror: Mirror,
    far: Far,
}

impl Upstream {
    pub(super) fn open(mirror: &Mirror) -> Result<Self> {
        let password = mirror.password_file.as_deref();
        let far = Far::open(&mirror.upstream, mirror.user.as_deref(), password, mirror.insecure)?;
        Ok(Self { mirror: mirror.clone(), far })
    }

    /// A repository's path there; `None` when it does not come from there.
    fn path<'a>(&self, repository: &'a str) -> Option<&'a str> {
        match self.mirror.prefix.as_str() {
            "" => Some(repository),
            prefix => repository.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// What a repository is called there.
    pub(super) fn called<'a>(&self, repository: &'a str) -> &'a str {
        self.path(repository).unwrap_or(repository)
    }

    fn repository(&self, name: &str) -> Result<Repository> {
        self.far.repository(self.called(name))
    }
}

/// Where a repository comes from, if it is mirrored.
pub(super) fn of<'a>(live: &'a Live, repository: &str) -> Option<&'a Upstream> {
    live.upstreams.iter().find(|upstream| upstream.path(repository).is_some())
}

/// One at a time for a thing; the second then finds it there.
pub(super) struct Turns(Vec<Arc<Mutex<()>>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Arc::default()).collect())
    }
}

impl Turns {
    async fn wait(&self, repository: &str, name: &str) -> OwnedMutexGuard<()> {
        let mut hasher = DefaultHasher::new();
        (repository, name).hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0);
        Arc::clone(&self.0[stripe]).lock_owned().await
    }
}

fn refusal(error: Error, unknown: impl FnOnce() -> Refusal) -> Refusal {
    match error.kind() {
        // Registries that hide what one may not see say so in either way.
        ErrorKind::NotFound | ErrorKind::Unauthorised | ErrorKind::Forbidden => unknown(),
        _ => {
            tracing::warn!(error = error.full(), "fetch from another registry");
            Refusal::new(StatusCode::BAD_GATEWAY, "UNKNOWN", error.full())
        }
    }
}

/// How old what is here of a tag or digest is: `Some(None)` when it cannot become outdated.
fn local(app: &App, repository: &str, selector: &Selector) -> Result<Option<Option<Duration>>> {
    let entries = &app.store.entries;
    match selector {
        Selector::Digest(digest) => {
            Ok(entries.has(Folder::Manifests(repository), digest.as_str())?.then_some(None))
        }
        Selector::Tag(tag) => Ok(entries.age(Folder::Tags(repository), tag)?.map(Some)),
    }
}

/// Sees to it that a manifest is here, and not older than it may be.
pub(super) async fn manifest(
    app: &Arc<App>,
    upstream: &Upstream,
    repository: &str,
    selector: &Selector,
) -> Result<(), Refusal> {
    let refresh = upstream.mirror.refresh.unwrap_or(Span(REFRESH)).0;
    let there =
        |repository: String, selector: Selector| blocking(app, move |app| local(app, &repository, &selector));
    let is_good =
        |found: &Option<Option<Duration>>| found.is_some_and(|age| age.is_none_or(|age| age < refresh));
    if is_good(&there(repository.to_owned(), selector.clone()).await?) {
        return Ok(());
    }
    let _turn = app.turns.wait(repository, selector.as_str()).await;
    let found = there(repository.to_owned(), selector.clone()).await?;
    if is_good(&found) {
        return Ok(());
    }
    match fetch_manifest(app, upstream, repository, selector).await {
        Ok(()) => Ok(()),
        Err(error) if found.is_some() => {
            tracing::warn!(error = error.full(), repository, "a mirrored tag could not be renewed");
            Ok(())
        }
        Err(error) => Err(refusal(error, || Refusal::manifest_unknown(selector.as_str()))),
    }
}

async fn fetch_manifest(
    app: &Arc<App>,
    upstream: &Upstream,
    repository: &str,
    selector: &Selector,
) -> Result<()> {
    let from = upstream.repository(repository)?;
    let unknown = || Error::not_found(format!("manifest unknown: {}", selector.as_str()));
    let head = from.head_manifest(selector.as_str()).await?.ok_or_else(unknown)?;
    let (name, wanted, digest) = (repository.to_owned(), selector.clone(), head.digest.clone());
    let unchanged = offloaded(app, move |app| {
        let Selector::Tag(tag) = &wanted else { return Ok(false) };
        let same = app.store.resolve(&name, &wanted)?.as_ref() == Some(&digest)
            && app.store.entries.has(Folder::Manifests(&name), digest.as_str())?;
        if same {
            app.store.entries.renew(Folder::Tags(&name), tag)?;
        }
        Ok(same)
    });
    if unchanged.await? {
        return Ok(());
    }
    let fetched = from.manifest(head.digest.as_str()).await?;
    let (name, tags) = (repository.to_owned(), super::request::tag_of(selector).map(str::to_owned));
    offloaded(app, move |app| {
        let document = Document::parse(&fetched.body, Some(&fetched.media_type))
            .map_err(|e| Error::wrap(ErrorKind::Internal, "use a mirrored manifest", e))?;
        let stored = Stored { digest: fetched.digest, media_type: fetched.media_type, body: fetched.body };
        let about = document.subject().map(|s| (&s.digest, manifests::descriptor(&stored, &document)));
        let about = about.as_ref().map(|(digest, descriptor)| (*digest, descriptor));
        let tags: Vec<String> = tags.into_iter().collect();
        // Its blobs come when somebody asks for them.
        app.store.put_manifest(&name, &tags, &stored, about, || Ok::<_, Error>(()))?;
        app.metrics.mirrored.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
    .await
}

async fn offloaded<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T> + Send + 'static,
) -> Result<T> {
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || work(&app)).await.map_err(super::uploads::joined)?
}

/// The size of a blob that is not here yet.
pub(super) async fn blob_size(
    upstream: &Upstream,
    repository: &str,
    digest: &Digest,
) -> Result<u64, Refusal> {
    let size = async { upstream.repository(repository)?.blob_size(digest).await };
    match size.await {
        Ok(Some(size)) => Ok(size),
        Ok(None) => Err(Refusal::blob_unknown(digest)),
        Err(error) => Err(refusal(error, || Refusal::blob_unknown(digest))),
    }
}

/// How far a blob has come.
#[derive(Debug, Clone)]
enum State {
    /// So many bytes are on the disk, not verified.
    Coming(u64),
    /// It is one of the repository's.
    Whole,
    /// Nobody gets more of it.
    Failed,
}

/// A blob on its way from another registry. Those who want it read what is there of it.
#[derive(Clone)]
pub(super) struct Fetch {
    pub(super) size: u64,
    file: Arc<File>,
    state: watch::Receiver<State>,
}

/// The blobs on their way, by repository and digest.
#[derive(Default)]
pub(super) struct Fetches(std::sync::Mutex<HashMap<(String, Digest), Fetch>>);

impl Fetches {
    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Digest), Fetch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch {
    /// Waits until the blob has this many bytes, the last of them only when it is verified: nobody gets a whole blob
    /// that is another than he asked for.
    async fn until(&mut self, end: u64) -> std::io::Result<()> {
        let size = self.size;
        let ready = |state: &State| match state {
            State::Coming(count) => *count >= end && end < size,
            State::Whole | State::Failed => true,
        };
        // The sender ends without a word only with the process.
        let state = self.state.wait_for(ready).await.map(|state| state.clone()).unwrap_or(State::Failed);
        match state {
            State::Failed => Err(std::io::Error::other("the other registry did not send the whole blob")),
            State::Coming(_) | State::Whole => Ok(()),
        }
    }

    /// The bytes from one up to, not with, another, as they come. Its end is an error when they do not.
    pub(super) fn part(self, start: u64, end: u64) -> Body {
        let stream = try_unfold((self, start), move |(mut fetch, at)| async move {
            let next = (at + filebody::MAX_READ as u64).min(end);
            if at >= next {
                return Ok(None);
            }
            fetch.until(next).await?;
            let file = Arc::clone(&fetch.file);
            let length = usize::try_from(next - at).unwrap_or(0);
            let read = tokio::task::spawn_blocking(move || filebody::read(&file, at, length));
            let bytes = read.await.map_err(std::io::Error::other)??;
            Ok::<_, std::io::Error>(Some((Frame::data(bytes), (fetch, next))))
        });
        StreamBody::new(stream).boxed_unsync()
    }
}

/// Begins to fetch a blob that is not here, or finds it on its way; `None` when it has come meanwhile. It goes on when
/// the client goes away.
pub(super) async fn blob(
    app: &Arc<App>,
    live: &Arc<Live>,
    repository: &str,
    digest: &Digest,
) -> Result<Option<Fetch>, Refusal> {
    let _turn = app.turns.wait(repository, digest.as_str()).await;
    let key = (repository.to_owned(), digest.clone());
    if let Some(fetch) = app.fetches.table().get(&key) {
        return Ok(Some(fetch.clone()));
    }
    let (name, wanted) = key.clone();
    if blocking(app, move |app| app.store.blob(&name, &wanted)).await?.is_some() {
        return Ok(None);
    }
    let Some(upstream) = of(live, repository) else { return Err(Refusal::blob_unknown(digest)) };
    let size = blob_size(upstream, repository, digest).await?;
    let name = format!("mirror-{repository}-{digest}");
    let begun = blocking(app, move |app| {
        let mut ingest = app.store.blobs.ingest(&name)?;
        // More than there is of it was never of it.
        if ingest.offset() > size {
            ingest.restart()?;
        }
        Ok((ingest.reader()?, ingest))
    });
    let (file, ingest) = begun.await?;
    let (told, state) = watch::channel(State::Coming(ingest.offset()));
    let fetch = Fetch { size, file: Arc::new(file), state };
    app.fetches.table().insert(key.clone(), fetch.clone());
    let (app, live) = (Arc::clone(app), Arc::clone(live));
    tokio::spawn(async move {
        let fetched = fetch_blob(&app, &live, &key, size, ingest, &told).await;
        if let Err(error) = &fetched {
            tracing::warn!(error = error.full(), repository = key.0, "fetch from another registry");
        }
        app.fetches.table().remove(&key);
        told.send_replace(if fetched.is_ok() { State::Whole } else { State::Failed });
    });
    Ok(Some(fetch))
}

async fn fetch_blob(
    app: &Arc<App>,
    live: &Live,
    (repository, digest): &(String, Digest),
    size: u64,
    mut ingest: Box<dyn Ingest>,
    told: &watch::Sender<State>,
) -> Result<()> {
    let upstream = of(live, repository).ok_or_else(|| Error::not_found("the mirror is gone"))?;
    let from = upstream.repository(repository)?;
    let start = ingest.offset();
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(QUEUE);
    let written = told.clone();
    // It takes as long as the other registry does.
    let writer = tokio::spawn(crate::transfer::run(move || {
        let mut result = Ok(());
        while let Some(piece) = receiver.blocking_recv() {
            result = ingest.write_all(&piece);
            if result.is_err() {
                break;
            }
            written.send_replace(State::Coming(ingest.offset()));
        }
        (ingest, result)
    }));
    let blob = Descriptor::new(media::OCI_LAYER, digest.clone(), size);
    let downloaded = from.download(&blob, start, &sender).await;
    drop(sender);
    let (ingest, written) = writer.await.map_err(super::uploads::joined)??;
    written.map_err(|e| Error::wrap(ErrorKind::Internal, "write a mirrored blob", e))?;
    if let Err(error) = downloaded {
        // What arrived is where the next attempt goes on.
        ingest.keep()?;
        return Err(error);
    }
    let (name, digest) = (repository.clone(), digest.clone());
    offloaded(app, move |app| {
        let _held = app.store.holds.hold(&digest);
        ingest.commit(Some(&digest))?;
        app.store.link_blob(&name, &digest, None)?;
        app.metrics.mirrored.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
    .await
}

/// Sees to it that the signatures of a digest are here which the other registry has under their tag. That it cannot be
/// reached is no failure: then what is here has to do.
pub(super) async fn signatures(
    app: &Arc<App>,
    live: &Arc<Live>,
    repository: &str,
    digest: &Digest,
) -> Result<(), Refusal> {
    let Some(upstream) = of(live, repository) else { return Ok(()) };
    let tag = Selector::Tag(wharf_signing::format::tag_of(digest));
    if let Err(refusal) = manifest(app, upstream, repository, &tag).await {
        tracing::debug!(message = refusal.message, repository, "no signatures of a mirrored image");
        return Ok(());
    }
    let name = repository.to_owned();
    let layers = blocking(app, move |app| {
        let Some(stored) = app.store.manifest(&name, &tag)? else { return Ok(Vec::new()) };
        let Ok(Document::Manifest(manifest)) = Document::parse(&stored.body, Some(&stored.media_type)) else {
            return Ok(Vec::new());
        };
        let signed = manifest.layers.into_iter().filter(|layer| Holds::of(layer).is_some());
        Ok(signed.take(MAX_SIGNATURES).collect())
    });
    for layer in layers.await? {
        let (name, wanted) = (repository.to_owned(), layer.digest.clone());
        if blocking(app, move |app| app.store.blob(&name, &wanted)).await?.is_none()
            && let Some(mut fetch) = blob(app, live, repository, &layer.digest).await?
        {
            let whole = fetch.until(fetch.size).await;
            whole.map_err(|e| Refusal::new(StatusCode::BAD_GATEWAY, "UNKNOWN", e.to_string()))?;
        }
    }
    Ok(())
}

/// Asks for every mirrored tag again that is here.
pub(super) async fn renew_all(app: &Arc<App>, live: &Live) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let last = after.clone();
        let page =
            offloaded(app, move |app| app.store.entries.page(Folder::Catalog, last.as_deref(), 1)).await?;
        let Some(repository) = page.into_iter().next() else { return Ok(()) };
        if let Some(upstream) = of(live, &repository) {
            renew(app, upstream, &repository).await?;
        }
        after = Some(repository);
    }
}

async fn renew(app: &Arc<App>, upstream: &Upstream, repository: &str) -> Result<()> {
    let name = repository.to_owned();
    let tags = offloaded(app, move |app| {
        let mut tags = Vec::new();
        app.store.entries.each(Folder::Tags(&name), &mut |tag| {
            tags.push(tag.to_owned());
            Ok(())
        })?;
        Ok(tags)
    });
    for tag in tags.await? {
        let _turn = app.turns.wait(repository, &tag).await;
        if let Err(error) = fetch_manifest(app, upstream, repository, &Selector::Tag(tag.clone())).await {
            tracing::warn!(error = error.full(), repository, tag, "a mirrored tag could not be renewed");
        }
    }
    Ok(())
}
