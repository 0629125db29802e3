//! Which files change beneath some directories: inotify(7), one watch for each directory.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes of events read at a time: some hundreds of them.
const BUFFER: usize = 64 * 1024;

/// Changes as they happen. A thread reads them, and ends with the process or with its first change that nobody takes.
#[derive(Debug)]
pub(super) struct Changes(mpsc::UnboundedReceiver<io::Result<BTreeSet<PathBuf>>>);

impl Changes {
    /// Watches files, and directories with all that is below them.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let mut watches = Watches { inotify: inotify::init(CreateFlags::CLOEXEC)?, watched: BTreeMap::new() };
        for path in paths {
            // Editors replace files: a file is watched by its directory.
            let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            watches.add(dir, path.is_dir())?;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            loop {
                let changed = watches.read();
                let failed = changed.is_err();
                if sender.send(changed).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self(receiver))
    }

    /// What has changed since the last time; waits for a change.
    pub(super) async fn next(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        self.0.recv().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

struct Watches {
    inotify: OwnedFd,
    watched: BTreeMap<i32, PathBuf>,
}

impl Watches {
    fn add(&mut self, dir: &Path, below: bool) -> io::Result<()> {
        let mut pending = vec![dir.to_owned()];
        while let Some(dir) = pending.pop() {
            let flags = WatchFlags::CREATE
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::ATTRIB
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR;
            match inotify::add_watch(&self.inotify, &dir, flags) {
                Ok(watch) => drop(self.watched.insert(watch, dir.clone())),
                // It went away again.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
                Err(error) => return Err(error.into()),
            }
            if below {
                let Ok(entries) = std::fs::read_dir(&dir) else { continue };
                pending.extend(
                    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()),
                );
            }
        }
        Ok(())
    }

    /// The changes of one read, which waits for the first.
    fn read(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let (mut changed, mut new) = (BTreeSet::new(), Vec::new());
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = reader.next()?;
            if let Some(dir) = self.watched.get(&event.wd())
                && let Some(name) = event.file_name()
            {
                let path = dir.join(OsStr::from_bytes(name.to_bytes()));
                let appeared = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                if event.events().contains(ReadFlags::ISDIR) && appeared {
                    new.push(path.clone());
                }
                changed.insert(path);
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        for dir in new {
            self.add(&dir, true)?;
            // What came before the watch did.
            changed.extend(below(&dir));
        }
        Ok(changed)
    }
}

/// All files below a directory, or the file itself.
pub(super) fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => pending.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => found.push(path),
        }
    }
    found
}
