//! Registries that get what is pushed here, and lose what is deleted if they are to.
//!
//! Each push of a manifest leaves a note, a file, for each replica that is to have it. The copier works the notes off
//! and takes each away when it is done; those of a replica that cannot be reached wait, also over a restart.

use super::entries::fs as files;
use super::far::Far;
use super::gc::Collected;
use super::live::Live;
use super::route::Selector;
use super::settings::{Replica, any};
use super::{App, blocking};
use crate::client::{Repository, Sent};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Document};

/// The pause after a round in which something failed; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// Indexes in indexes that are followed.
const MAX_DEPTH: u32 = 4;

/// What is still to be copied, and to where.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Note {
    registry: String,
    repository: String,
    reference: String,
    /// It is to go there, not to come.
    #[serde(default)]
    gone: bool,
}

/// The notes of a registry.
pub(super) struct Notes {
    dir: PathBuf,
    next: AtomicU64,
    came: Notify,
}

impl Notes {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let dir = root.join("replication");
        files::make_dir(&dir)?;
        let mut next = 0;
        files::for_each_name(&dir, |name| {
            next = next.max(name.parse::<u64>().map_or(0, |n| n + 1));
            Ok(())
        })?;
        Ok(Self { dir, next: AtomicU64::new(next), came: Notify::new() })
    }

    /// Notes a push for every replica that is to have it.
    pub(super) fn add(&self, live: &Live, repository: &str, references: &[String]) -> Result<()> {
        self.note(live, repository, references, false)
    }

    /// Notes what was deleted for every replica that follows.
    pub(super) fn add_deleted(&self, live: &Live, repository: &str, references: &[String]) -> Result<()> {
        self.note(live, repository, references, true)
    }

    /// Notes what a collection took.
    pub(super) fn add_collected(&self, live: &Live, collected: &Collected) -> Result<()> {
        let tags = collected.tags.iter().filter_map(|name| name.rsplit_once(':'));
        let manifests = collected.manifests.iter().filter_map(|name| name.split_once('@'));
        for (repository, reference) in tags.chain(manifests) {
            self.add_deleted(live, repository, &[reference.to_owned()])?;
        }
        Ok(())
    }

    fn note(&self, live: &Live, repository: &str, references: &[String], gone: bool) -> Result<()> {
        let wants = |r: &&Replica| any(&r.repositories, repository) && (!gone || r.deletes);
        for replica in live.settings.replicas.iter().filter(wants) {
            for reference in references {
                let note = Note {
                    registry: replica.registry.clone(),
                    repository: repository.to_owned(),
                    reference: reference.clone(),
                    gone,
                };
                let text = serde_json::to_vec(&note)
                    .map_err(|e| Error::wrap(ErrorKind::Internal, "note what to copy", e))?;
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                // As wide as the largest number: in order of names they are in order of pushes.
                files::write(&self.dir.join(format!("{number:020}")), &text)?;
            }
            self.came.notify_one();
        }
        Ok(())
    }

    fn all(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        files::for_each_name(&self.dir, |name| {
            names.push(name.to_owned());
            Ok(())
        })?;
        names.sort_unstable();
        Ok(names)
    }
}

/// A registry that gets copies.
pub(super) struct Copies {
    replica: Replica,
    far: Far,
}

impl Copies {
    pub(super) fn open(replica: &Replica) -> Result<Self> {
        let password = replica.password_file.as_deref();
        let far = Far::open(&replica.registry, replica.user.as_deref(), password, replica.insecure)?;
        Ok(Self { replica: replica.clone(), far })
    }
}

/// Works the notes off, for as long as the registry serves.
pub(super) async fn run(app: Arc<App>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let came = app.notes.came.notified();
        match round(&app).await {
            Ok(true) => {
                pause = FIRST_PAUSE;
                came.await;
            }
            Ok(false) => {
                // What comes meanwhile is tried at once; what failed with it.
                let _ = tokio::time::timeout(pause, came).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
            Err(error) => {
                tracing::error!(error = error.full(), "replication");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// Tries every note once; whether none is left. A replica that failed is not asked again in the same round.
async fn round(app: &Arc<App>) -> Result<bool> {
    let live = app.live();
    let mut failed: Vec<String> = Vec::new();
    for name in app.notes.all()? {
        let path = app.notes.dir.join(&name);
        let note = files::read(&path)?.and_then(|text| serde_json::from_str::<Note>(&text).ok());
        let Some(note) = note else {
            files::remove(&path)?;
            continue;
        };
        if failed.contains(&note.registry) {
            continue;
        }
        // A replica that the settings no longer name gets nothing more.
        let copies = live.copies.iter().find(|c| c.replica.registry == note.registry);
        let copied = match copies {
            Some(copies) => copy_note(app, copies, &note).await,
            None => Ok(()),
        };
        match copied {
            Ok(()) => drop(files::remove(&path)?),
            Err(error) => {
                let (to, repository) = (&note.registry, &note.repository);
                tracing::warn!(error = error.full(), to, repository, "a copy has to wait");
                failed.push(note.registry);
            }
        }
    }
    Ok(failed.is_empty())
}

async fn copy_note(app: &Arc<App>, copies: &Copies, note: &Note) -> Result<()> {
    let path = match &copies.replica.prefix {
        Some(prefix) => format!("{prefix}/{}", note.repository),
        None => note.repository.clone(),
    };
    let selector = match note.reference.parse() {
        Ok(digest) => Selector::Digest(digest),
        Err(_) => Selector::Tag(note.reference.clone()),
    };
    let to = copies.far.repository(&path)?;
    if note.gone {
        return match to.delete_manifest(selector.as_str()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            // It never will: those behind it need not wait.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid) => {
                tracing::error!(error = error.full(), "a replica keeps what was deleted here");
                Ok(())
            }
            result => result,
        };
    }
    copy(app, &to, &note.repository, &selector, MAX_DEPTH).await
}

/// Copies a manifest with what it names. What is no longer here is not copied.
async fn copy(
    app: &Arc<App>,
    to: &Repository,
    repository: &str,
    selector: &Selector,
    depth: u32,
) -> Result<()> {
    let (name, wanted) = (repository.to_owned(), selector.clone());
    let found = offloaded(app, move |app| app.store.manifest(&name, &wanted)).await?;
    let Some(stored) = found else { return Ok(()) };
    let document = Document::parse(&stored.body, Some(&stored.media_type))
        .map_err(|e| Error::wrap(ErrorKind::Internal, format!("read manifest {}", stored.digest), e))?;
    match &document {
        Document::Manifest(manifest) => {
            for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                copy_blob(app, to, repository, blob).await?;
            }
        }
        Document::Index(index) if depth > 0 => {
            for child in &index.manifests {
                let child = Selector::Digest(child.digest.clone());
                Box::pin(copy(app, to, repository, &child, depth - 1)).await?;
            }
        }
        Document::Index(_) => {}
    }
    to.put_manifest(selector.as_str(), &stored.media_type, stored.body.clone()).await.map(drop)
}

async fn copy_blob(app: &Arc<App>, to: &Repository, repository: &str, blob: &Descriptor) -> Result<()> {
    let (name, digest) = (repository.to_owned(), blob.digest.clone());
    let found: Option<(u64, File)> = offloaded(app, move |app| match app.store.blob(&name, &digest)? {
        Some(size) => Ok(Some((size, app.store.blobs.file(&digest)?))),
        None => Ok(None),
    })
    .await?;
    let Some((size, file)) = found else { return Ok(()) };
    let unheard: Sent = Arc::new(|_| {});
    let digest: &Digest = &blob.digest;
    to.upload(digest, size, &file, unheard).await.map(drop)
}

async fn offloaded<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T> + Send + 'static,
) -> Result<T> {
    blocking(app, work).await.map_err(|refusal| Error::internal(refusal.message))
}
