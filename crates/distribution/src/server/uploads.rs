//! Uploads: an ingest of the blob store under an id, written by one request at a time.
//!
//! An upload outlives the server: its ingest stays when the process ends, and a small file says which
//! repository it is for.

use super::contents::Contents;
use super::entries::fs as files;
use super::incoming::RequestBody;
use super::reply::Refusal;
use crate::transfer;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use ring::rand::SecureRandom;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;
use wharf_model::blobs::Ingest;
use wharf_model::{Error, ErrorKind, Result};

/// A client that sends nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(60);
/// An upload that no request has asked for this long is given up.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Pieces of a body in flight between network and disk; a piece is at most as large as the connection's buffer.
const QUEUE: usize = 4;

type Open = Arc<AsyncMutex<Option<Box<dyn Ingest>>>>;

pub(super) struct Uploads {
    dir: PathBuf,
    blobs: Arc<dyn Contents>,
    /// By id, with when a request last asked for it.
    open: Mutex<HashMap<String, (Open, Instant)>>,
}

/// An upload that one request works on.
pub(super) struct Upload {
    pub(super) id: String,
    open: Open,
}

impl Uploads {
    pub(super) fn open(root: &std::path::Path, blobs: Arc<dyn Contents>) -> Result<Self> {
        let dir = root.join("uploads");
        files::make_dir(&dir)?;
        let uploads = Self { dir, blobs, open: Mutex::default() };
        uploads.sweep_files()?;
        Ok(uploads)
    }

    fn ingest_name(id: &str) -> String {
        format!("registry-upload-{id}")
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Open, Instant)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an upload for a repository.
    pub(super) fn begin(&self, repository: &str) -> Result<Upload> {
        let mut bytes = [0u8; 16];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::internal("the kernel gave no random bytes"))?;
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let ingest = self.blobs.ingest(&Self::ingest_name(&id))?;
        files::write(&self.dir.join(&id), repository.as_bytes())?;
        let open: Open = Arc::new(AsyncMutex::new(Some(ingest)));
        self.sweep()?;
        self.table().insert(id.clone(), (Arc::clone(&open), Instant::now()));
        Ok(Upload { id, open })
    }

    /// Finds an upload of a repository, of an earlier process too.
    pub(super) fn find(&self, repository: &str, id: &str) -> Result<Option<Upload>> {
        let valid = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if !valid || files::read(&self.dir.join(id))?.as_deref() != Some(repository) {
            return Ok(None);
        }
        let mut table = self.table();
        let open = match table.get_mut(id) {
            Some((open, used)) => {
                *used = Instant::now();
                Arc::clone(open)
            }
            None => {
                let ingest = self.blobs.ingest(&Self::ingest_name(id))?;
                let open: Open = Arc::new(AsyncMutex::new(Some(ingest)));
                table.insert(id.to_owned(), (Arc::clone(&open), Instant::now()));
                open
            }
        };
        Ok(Some(Upload { id: id.to_owned(), open }))
    }

    /// Throws away uploads that nobody has gone on with: their ingests go with them.
    fn sweep(&self) -> Result<()> {
        let stale: Vec<String> = {
            let table = self.table();
            let old = table.iter().filter(|(_, (_, used))| used.elapsed() > ABANDONED);
            old.map(|(id, _)| id.clone()).collect()
        };
        stale.iter().try_for_each(|id| self.end(id))
    }

    /// Throws away what earlier processes left and nobody has gone on with.
    fn sweep_files(&self) -> Result<()> {
        files::for_each_name(&self.dir, |id| {
            let path = self.dir.join(id);
            let age =
                std::fs::metadata(&path).and_then(|m| m.modified()).map(|m| m.elapsed().unwrap_or_default());
            if age.is_ok_and(|age| age > ABANDONED) {
                drop(self.blobs.ingest(&Self::ingest_name(id))?);
                files::remove(&path)?;
            }
            Ok(())
        })
    }

    /// Uploads that requests have worked on and that have not ended.
    pub(super) fn count(&self) -> usize {
        self.table().len()
    }

    /// Forgets an upload.
    pub(super) fn end(&self, id: &str) -> Result<()> {
        self.table().remove(id);
        files::remove(&self.dir.join(id)).map(drop)
    }

    /// Throws an upload away.
    pub(super) async fn cancel(&self, upload: &Upload) -> Result<()> {
        drop(upload.open.lock().await.take());
        self.end(&upload.id)
    }

    /// Leaves every upload for the next process.
    pub(super) async fn keep_all(&self) {
        let open: Vec<Open> = self.table().drain().map(|(_, (open, _))| open).collect();
        for upload in open {
            if let Some(ingest) = upload.lock().await.take()
                && let Err(error) = ingest.keep()
            {
                tracing::error!(error = error.full(), "an upload could not be kept");
            }
        }
    }
}

impl Upload {
    /// Bytes received so far.
    pub(super) async fn offset(&self) -> Result<u64, Refusal> {
        self.open.lock().await.as_ref().map(|i| i.offset()).ok_or_else(Refusal::upload_unknown)
    }

    /// Takes what was received, to make it a blob.
    pub(super) async fn take(&self) -> Result<Box<dyn Ingest>, Refusal> {
        self.open.lock().await.take().ok_or_else(Refusal::upload_unknown)
    }

    /// Appends a body, whose first byte is the upload's `start`-th when that is given. What arrived stays,
    /// also when the client goes away in the middle. Returns the new offset. With `room`, an upload does not become
    /// larger than that.
    pub(super) async fn append(
        &self,
        start: Option<u64>,
        room: Option<u64>,
        mut body: RequestBody,
        received: &AtomicU64,
    ) -> Result<u64, Refusal> {
        let mut guard = Arc::clone(&self.open).lock_owned().await;
        let offset = guard.as_ref().map(|i| i.offset()).ok_or_else(Refusal::upload_unknown)?;
        if start.is_some_and(|start| start != offset) {
            return Err(Refusal::new(
                http::StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                format!("the upload goes on at byte {offset}"),
            ));
        }
        let mut left = room.map(|room| room.saturating_sub(offset));
        if left.is_some_and(|left| body.size_hint().lower() > left) {
            return Err(full());
        }
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(QUEUE);
        // It takes as long as the client does.
        let writer = tokio::spawn(transfer::run(move || -> std::io::Result<u64> {
            let Some(ingest) = guard.as_mut() else { return Ok(0) };
            while let Some(piece) = receiver.blocking_recv() {
                ingest.write_all(&piece)?;
            }
            Ok(ingest.offset())
        }));
        let (mut broken, mut too_much) = (None, false);
        loop {
            match tokio::time::timeout(STALLED, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    received.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    if let Some(left) = &mut left {
                        match left.checked_sub(piece.len() as u64) {
                            Some(still) => *left = still,
                            None => {
                                too_much = true;
                                break;
                            }
                        }
                    }
                    // The writer ends early only by an error, which it returns below.
                    if !piece.is_empty() && sender.send(piece).await.is_err() {
                        break;
                    }
                }
                Ok(Some(Err(error))) => {
                    broken = Some(error.to_string());
                    break;
                }
                Err(_) => {
                    broken = Some(format!("nothing came for {} seconds", STALLED.as_secs()));
                    break;
                }
            }
        }
        drop(sender);
        let written = writer.await.map_err(joined)??;
        let offset = written.map_err(|e| Error::wrap(ErrorKind::Internal, "write an upload", e))?;
        if too_much {
            return Err(full());
        }
        match broken {
            None => Ok(offset),
            Some(why) => Err(Refusal::new(
                http::StatusCode::BAD_REQUEST,
                "BLOB_UPLOAD_INVALID",
                format!("the body broke off ({why}); go on at byte {offset}"),
            )),
        }
    }
}

fn full() -> Refusal {
    Refusal::denied(
        "the repository's quota has no room for this blob: delete tags, or ask the registry's operator",
    )
}

pub(super) fn joined(error: tokio::task::JoinError) -> Error {
    Error::wrap(ErrorKind::Internal, "a task of the registry ended early", error)
}
