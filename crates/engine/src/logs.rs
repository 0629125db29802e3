//! Reading a container's log: Docker's json-file format, across rotated files, and as it grows.

pub(crate) mod about;
mod files;
pub(crate) mod remote;

use crate::clock::parse_rfc3339;
use files::Lines;
use rustix::fs::inotify;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use wharf_model::{Error, ErrorKind, Result};

use crate::containers::View;

/// What is wanted of a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogRequest {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Only entries at or after this time, ns since the epoch.
    pub since_ns: Option<i128>,
    /// Only entries before this time.
    pub until_ns: Option<i128>,
    /// Only so many entries from the end; `None` for all.
    pub tail: Option<usize>,
    /// Goes on while the container runs.
    pub follow: bool,
}

/// One entry: a line, or a piece of a long one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// From standard error.
    pub stderr: bool,
    /// RFC 3339.
    pub time: String,
    /// With its newline, if it had one.
    pub text: String,
    /// What the driver's options tell of the container.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Raw {
    log: String,
    stream: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: String,
}

/// Entries waiting for a slow reader; the reader of the file waits meanwhile.
const QUEUE: usize = 256;

/// Reads a log. Entries come through the channel; it closes at the end, or when a followed container has ended.
pub fn read(
    file: PathBuf,
    request: LogRequest,
    view: watch::Receiver<View>,
) -> mpsc::Receiver<Result<LogEntry>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(e) = run(file, request, view, &sender).await {
            // A reader that went away needs no error.
            let _ = sender.send(Err(e)).await;
        }
    });
    receiver
}

async fn run(
    file: PathBuf,
    request: LogRequest,
    mut view: watch::Receiver<View>,
    out: &mpsc::Sender<Result<LogEntry>>,
) -> Result<()> {
    let watcher = if request.follow { Some(watch_directory(&file)?) } else { None };
    let mut cursor = Cursor::open(file, request)?;
    if let Some(tail) = request.tail {
        let entries = tokio::task::spawn_blocking(move || cursor.tail(tail).map(|entries| (cursor, entries)));
        let (back, entries) =
            entries.await.map_err(|e| Error::internal(format!("a worker failed: {e}")))??;
        cursor = back;
        for entry in entries {
            if out.send(Ok(entry)).await.is_err() {
                return Ok(());
            }
        }
    }
    loop {
        // Asked before reading, so that what is written between reading and ending is still read.
        let running = view.borrow_and_update().record.status.is_running();
        while let Some(entry) = cursor.next()? {
            if out.send(Ok(entry)).await.is_err() {
                return Ok(());
            }
        }
        let Some(watcher) = watcher.as_ref().filter(|_| running && !cursor.is_past) else { return Ok(()) };
        tokio::select! {
            changed = drain(watcher) => changed?,
            changed = view.changed() => if changed.is_err() { return Ok(()) },
            () = out.closed() => return Ok(()),
        }
    }
}

fn watch_directory(file: &Path) -> Result<AsyncFd<rustix::fd::OwnedFd>> {
    let failed = |e: io::Error| Error::wrap(ErrorKind::Internal, "watch the log", e);
    let directory = file.parent().unwrap_or(Path::new("/"));
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .map_err(|e| failed(e.into()))?;
    let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&fd, directory, flags).map_err(|e| failed(e.into()))?;
    // Deprecated for types whose descriptor may change; an OwnedFd's never does.
    #[allow(deprecated)]
    AsyncFd::new(fd).map_err(failed)
}

/// Waits for a change and takes all notices of it.
async fn drain(watcher: &AsyncFd<rustix::fd::OwnedFd>) -> Result<()> {
    let failed = |e: io::Error| Error::wrap(ErrorKind::Internal, "watch the log", e);
    let mut guard = watcher.readable().await.map_err(failed)?;
    let mut buffer = [0u8; 4096];
    while rustix::io::read(guard.get_inner(), &mut buffer).is_ok_and(|n| n > 0) {}
    guard.clear_ready();
    Ok(())
}

/// Entries as they are wanted.
struct Cursor {
    lines: Lines,
    request: LogRequest,
    is_past: bool,
}

impl Cursor {
    fn open(base: PathBuf, request: LogRequest) -> Result<Self> {
        let lines = Lines::open(base).map_err(unreadable)?;
        Ok(Self { lines, request, is_past: false })
    }

    /// Reads everything and keeps the last entries; the cursor is then at the end.
    fn tail(&mut self, count: usize) -> Result<VecDeque<LogEntry>> {
        let mut kept = VecDeque::with_capacity(count.min(1024));
        while let Some(entry) = self.next()? {
            if kept.len() == count {
                kept.pop_front();
            }
            if count > 0 {
                kept.push_back(entry);
            }
        }
        Ok(kept)
    }

    /// The next entry that is wanted; `None` at the end of what is there now.
    fn next(&mut self) -> Result<Option<LogEntry>> {
        while !self.is_past {
            if std::mem::take(&mut self.lines.missed) {
                tracing::warn!("the log is written faster than it is read: files of it were dropped unread");
            }
            let Some(line) = self.lines.next().map_err(unreadable)? else { return Ok(None) };
            // A line torn by a full disk or a power cut is passed over.
            let Ok(raw) = serde_json::from_slice::<Raw>(&line) else { continue };
            let stderr = raw.stream == "stderr";
            let time = parse_rfc3339(&raw.time).unwrap_or(0);
            if self.request.until_ns.is_some_and(|until| time >= until) {
                // The host's clock may have been set back: what comes after may be earlier.
                self.is_past = self.request.follow;
                continue;
            }
            let wanted = if stderr { self.request.stderr } else { self.request.stdout };
            if wanted && self.request.since_ns.is_none_or(|since| time >= since) {
                let Raw { log: text, attrs: attributes, time, .. } = raw;
                return Ok(Some(LogEntry { stderr, time, text, attributes }));
            }
        }
        Ok(None)
    }
}

fn unreadable(e: io::Error) -> Error {
    Error::wrap(ErrorKind::Internal, "read the log", e)
}

/// A door for `tests/fuzz`.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use super::{Cursor, LogRequest, PathBuf};

    /// Reads the log of these files in each way.
    pub fn read(file: PathBuf) {
        let request = LogRequest { stdout: true, stderr: true, ..LogRequest::default() };
        let Ok(mut cursor) = Cursor::open(file.clone(), request) else { return };
        while let Ok(Some(_)) = cursor.next() {}
        let limited = LogRequest { since_ns: Some(0), until_ns: Some(i128::MAX), ..request };
        if let Ok(mut cursor) = Cursor::open(file, limited) {
            let _ = cursor.tail(3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, lines: &[&str]) {
        let entry = |l: &&str| {
            format!(
                "{{\"log\":\"{l}\\n\",\"stream\":\"stdout\",\"time\":\"2024-01-01T00:00:0{}Z\"}}\n",
                l.len() % 10
            )
        };
        std::fs::write(path, lines.iter().map(entry).collect::<String>()).unwrap();
    }

    fn texts(cursor: &mut Cursor) -> Vec<String> {
        std::iter::from_fn(|| cursor.next().unwrap()).map(|e| e.text).collect()
    }

    fn all() -> LogRequest {
        LogRequest { stdout: true, stderr: true, ..LogRequest::default() }
    }

    #[test]
    fn rotated_files_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("x.log");
        write(&base, &["ccc"]);
        write(&base.with_added_extension("1"), &["bb"]);
        write(&base.with_added_extension("2"), &["a"]);
        let mut cursor = Cursor::open(base.clone(), all()).unwrap();
        assert_eq!(texts(&mut cursor), ["a\n", "bb\n", "ccc\n"]);
        assert_eq!(Cursor::open(base, all()).unwrap().tail(2).unwrap().len(), 2);
    }

    #[test]
    fn a_rotation_while_reading_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("x.log");
        write(&base, &["a"]);
        let mut cursor = Cursor::open(base.clone(), all()).unwrap();
        assert_eq!(texts(&mut cursor), ["a\n"]);
        std::fs::rename(&base, base.with_added_extension("1")).unwrap();
        write(&base, &["bb"]);
        assert_eq!(texts(&mut cursor), ["bb\n"]);
    }

    #[test]
    fn a_clock_that_was_set_back_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("x.log");
        write(&base, &["a", "ccccc", "bb"]);
        let until = parse_rfc3339("2024-01-01T00:00:03Z");
        let request = LogRequest { until_ns: until, ..all() };
        assert_eq!(texts(&mut Cursor::open(base, request).unwrap()), ["a\n", "bb\n"]);
    }

    #[test]
    fn times_bound_it() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("x.log");
        write(&base, &["a", "bb", "ccc"]);
        let at = |s| parse_rfc3339(s).unwrap();
        let request = LogRequest {
            since_ns: Some(at("2024-01-01T00:00:02Z")),
            until_ns: Some(at("2024-01-01T00:00:03Z")),
            ..all()
        };
        assert_eq!(texts(&mut Cursor::open(base, request).unwrap()), ["bb\n"]);
    }
}
