//! Sending a container's log away: syslog, GELF, Fluentd, journald.
//!
//! One task a container reads the file that the monitor writes and sends each entry. What was sent last is kept beside
//! the file, so that neither a restart of the engine nor a receiver that is gone for a while loses or repeats lines
//! (one may come twice after a crash of the engine): it ends only where the file drops them.

mod fluentd;
mod gelf;
mod journald;
mod syslog;
mod tls;
mod transport;

use super::about::About;
use super::{LogEntry, LogRequest};
use crate::clock::parse_rfc3339;
use crate::containers::View;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use transport::{Address, Connection};
use wharf_model::container::{ContainerRecord, LogSpec};
use wharf_model::{Error, ErrorKind, Result};

/// A receiver must be there within this time when a container starts.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The pause before an entry is sent anew; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Entries after which it is written down what was sent, when no pause comes before.
const KEPT_EVERY: u32 = 500;

/// How entries are put into bytes.
enum Encoder {
    Syslog(syslog::Encoder),
    Gelf(gelf::Encoder),
    Fluentd(fluentd::Encoder),
    Journald(journald::Encoder),
}

/// A receiver with what it is sent.
struct Target {
    address: Address,
    encoder: Encoder,
    /// It may be away when the container starts.
    lazy: bool,
}

impl Target {
    fn of(log: &LogSpec, about: About) -> Result<Self> {
        let (address, encoder) = match log.driver.as_str() {
            "syslog" => {
                let (address, encoder) = syslog::parse(log, about)?;
                (address, Encoder::Syslog(encoder))
            }
            "gelf" => {
                let (address, encoder) = gelf::parse(log, about)?;
                (address, Encoder::Gelf(encoder))
            }
            "fluentd" => {
                let (address, encoder) = fluentd::parse(log, about)?;
                (address, Encoder::Fluentd(encoder))
            }
            _ => (journald::address(), Encoder::Journald(journald::Encoder::new(about))),
        };
        let is_on = |name| log.option(name).and_then(wharf_model::logging::flag).unwrap_or(false);
        let lazy = is_on("fluentd-async") || is_on("fluentd-async-connect");
        Ok(Self { address, encoder, lazy })
    }

    /// Sends one entry over a connection.
    async fn send(&self, connection: &mut Connection, entry: &LogEntry) -> io::Result<()> {
        match &self.encoder {
            Encoder::Syslog(encoder) => connection.send(&encoder.encode(entry)).await,
            Encoder::Gelf(encoder) => {
                for piece in encoder.encode(entry, connection.is_datagram())? {
                    connection.send(&piece).await?;
                }
                Ok(())
            }
            Encoder::Fluentd(encoder) => {
                let (bytes, id) = encoder.encode(entry);
                connection.send(&bytes).await?;
                if id.is_empty() { Ok(()) } else { connection.acknowledged(id.as_bytes()).await }
            }
            Encoder::Journald(encoder) => connection.send(&encoder.encode(entry)).await,
        }
    }
}

/// Checks the options of a driver, without asking its receiver.
pub(crate) fn check(log: &LogSpec) -> Result<()> {
    super::about::check(log)?;
    if log.is_remote() { Target::of(log, About::default()).map(drop) } else { Ok(()) }
}

/// Sees that the receiver of a container's log is there.
///
/// # Errors
/// `Internal` in Docker's words when it is not.
pub(crate) async fn reach(record: &ContainerRecord) -> Result<()> {
    let target = Target::of(&record.spec.log, About::of(record)?)?;
    if target.lazy {
        return Ok(());
    }
    let failed = |e: io::Error| {
        Error::wrap(
            ErrorKind::Internal,
            format!(
                "failed to create task for container: failed to initialize logging driver: dial {}",
                target.address
            ),
            e,
        )
    };
    target.address.check().map_err(|e| {
        let what = "failed to create task for container: failed to initialize logging driver";
        Error::wrap(ErrorKind::Internal, what, e)
    })?;
    match tokio::time::timeout(CONNECT_LIMIT, Connection::open(&target.address)).await {
        Ok(opened) => opened.map(drop).map_err(failed),
        Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
    }
}

/// What was sent last: the time of an entry, and how many entries of that time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    time: String,
    count: u64,
}

impl Mark {
    fn path(file: &Path) -> PathBuf {
        file.with_added_extension("sent")
    }

    /// Without one everything is still to be sent.
    fn read(file: &Path) -> Self {
        let text = std::fs::read(Self::path(file)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn keep(&self, file: &Path) -> io::Result<()> {
        let scratch = file.with_added_extension("sent.tmp");
        std::fs::write(&scratch, serde_json::to_vec(self)?)?;
        std::fs::rename(&scratch, Self::path(file))
    }

    fn pass(&mut self, entry: &LogEntry) {
        if self.time == entry.time {
            self.count += 1;
        } else {
            *self = Self { time: entry.time.clone(), count: 1 };
        }
    }
}

/// Sends the log of a container as long as that is there.
pub(crate) async fn ship(file: PathBuf, mut view: watch::Receiver<View>) {
    let record = view.borrow().record.clone();
    let target = match About::of(&record).and_then(|about| Target::of(&record.spec.log, about)) {
        Ok(target) => target,
        Err(e) => return tracing::error!(container = %record.id, "send the log: {}", e.full()),
    };
    let mut shipper = Shipper { target, mark: Mark::read(&file), file, connection: None };
    loop {
        if shipper.follow(&mut view).await {
            return;
        }
        // The run has ended; the next one writes more.
        if view.changed().await.is_err() || view.borrow().removed {
            return;
        }
    }
}

struct Shipper {
    target: Target,
    file: PathBuf,
    mark: Mark,
    connection: Option<Connection>,
}

impl Shipper {
    /// Sends what is there and what one run adds. True when the container is gone.
    async fn follow(&mut self, view: &mut watch::Receiver<View>) -> bool {
        let since_ns = parse_rfc3339(&self.mark.time);
        let request =
            LogRequest { stdout: true, stderr: true, since_ns, follow: true, ..LogRequest::default() };
        let mut entries = super::read(self.file.clone(), request, view.clone());
        let last = self.mark.clone();
        let (mut of_last, mut unkept) = (0, 0);
        while let Some(entry) = entries.recv().await {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    tracing::warn!("send the log {}: {}", self.file.display(), e.full());
                    break;
                }
            };
            if entry.time == last.time && of_last < last.count {
                of_last += 1;
                continue;
            }
            if !self.deliver(&entry, view).await {
                return true;
            }
            self.mark.pass(&entry);
            unkept += 1;
            if unkept >= KEPT_EVERY || entries.is_empty() {
                self.keep();
                unkept = 0;
            }
        }
        self.keep();
        view.borrow().removed
    }

    fn keep(&self) {
        // A container that is being removed has no directory any more.
        match self.mark.keep(&self.file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("keep what was sent of {}: {e}", self.file.display());
            }
            _ => {}
        }
    }

    /// Sends one entry, again and again until it is taken. False when the container is gone before.
    async fn deliver(&mut self, entry: &LogEntry, view: &mut watch::Receiver<View>) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_deliver(entry).await {
                Ok(()) => return true,
                Err(e) => {
                    self.connection = None;
                    if pause == FIRST_PAUSE {
                        tracing::warn!(
                            "send the log {} to {}: {e}",
                            self.file.display(),
                            self.target.address
                        );
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                gone = view.wait_for(|v| v.removed) => {
                    drop(gone);
                    return false;
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_deliver(&mut self, entry: &LogEntry) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(Connection::open(&self.target.address).await?),
        };
        self.target.send(connection, entry).await
    }
}

/// The line without its end.
fn line(entry: &LogEntry) -> &str {
    let text = entry.text.strip_suffix('\n').unwrap_or(&entry.text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_entries_of_one_moment() {
        let entry = |time: &str| LogEntry { time: time.to_owned(), ..LogEntry::default() };
        let mut mark = Mark::default();
        for time in ["a", "a", "b", "b", "b"] {
            mark.pass(&entry(time));
        }
        assert_eq!(mark, Mark { time: "b".into(), count: 3 });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.log");
        assert_eq!(Mark::read(&file), Mark::default());
        mark.keep(&file).unwrap();
        assert_eq!(Mark::read(&file), mark);
    }
}
