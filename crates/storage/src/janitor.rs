//! Work behind the caller's back: what no record names any more is removed, and what the next will need is made.

use crate::disk::remove_tree;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SendError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wharf_model::{Error, ErrorKind, Result};

/// Does one job after another in a thread of its own, started by the first. What a crash leaves undone is for the
/// owner's recovery. Dropping waits for what was asked.
#[derive(Default)]
pub(crate) struct Janitor {
    running: Mutex<Option<Running>>,
}

/// Times a tree is tried at most: with the pauses between them, for six seconds.
const ATTEMPTS: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

type Job = Box<dyn FnOnce() + Send>;

struct Running {
    work: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Janitor {
    /// Removes a tree soon. A failure is told in the log; the owner's next recovery tries again.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn remove(&self, path: PathBuf) -> Result<()> {
        self.later(Box::new(move || remove_patiently(&path)))
    }

    /// Does something soon.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn later(&self, job: Job) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match running.as_ref() {
            None => job,
            Some(running) => match running.work.send(job) {
                Ok(()) => return Ok(()),
                Err(SendError(job)) => job,
            },
        };
        *running = Some(start(job)?);
        Ok(())
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { work, thread }) = running {
            drop(work);
            // A panic in it was reported by itself.
            let _ = thread.join();
        }
    }
}

/// The kernel lets go of an ended container's mounts in its own time, and until then may still change their files.
fn remove_patiently(path: &Path) {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        match remove_tree(path) {
            Ok(()) => return,
            Err(e) if attempt == ATTEMPTS => return tracing::warn!("{}", e.full()),
            Err(e) => tracing::debug!("again in {} ms: {}", pause.as_millis(), e.full()),
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
}

fn start(first: Job) -> Result<Running> {
    let (work, asked) = channel::<Job>();
    let run = move || {
        // Whatever else there is to do comes first. Without the right to say so it is just not as polite.
        let _ = rustix::process::setpriority_process(None, 19);
        for job in std::iter::once(first).chain(asked) {
            job();
        }
    };
    let thread = std::thread::Builder::new().name("wharf-janitor".into()).stack_size(256 << 10).spawn(run);
    let thread = thread.map_err(|e| Error::wrap(ErrorKind::Internal, "start the janitor", e))?;
    Ok(Running { work, thread })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_waits_for_what_was_asked() {
        let root = tempfile::tempdir().unwrap();
        let janitor = Janitor::default();
        for name in ["a", "b", "c"] {
            let tree = root.path().join(name);
            std::fs::create_dir_all(tree.join("x/y")).unwrap();
            std::fs::write(tree.join("x/file"), "1").unwrap();
            janitor.remove(tree).unwrap();
        }
        janitor.remove(root.path().join("never there")).unwrap();
        drop(janitor);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
