//! Work at the pace of a client or a registry, each on a thread of its own.
//!
//! The runtime's few blocking threads are for what ends by itself: clients that stall in the middle of an archive would
//! take them all, and no container could start any more.

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use wharf_model::{Error, ErrorKind, Result};

/// Threads at once, who comes later waits: far beyond what people do, and a few MB of stacks at most.
const MOST: usize = 512;
/// As for the runtime's own threads.
const STACK: usize = 1 << 20;

static PLACES: Semaphore = Semaphore::const_new(MOST);

/// Runs blocking work. It goes on to its end when the future is dropped.
///
/// # Errors
/// `Internal` when no thread can be started or the work panics.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let place =
        PLACES.acquire().await.map_err(|e| Error::wrap(ErrorKind::Internal, "wait for a place", e))?;
    let (sender, done) = oneshot::channel();
    let handle = Handle::current();
    let run = move || {
        let _inside = handle.enter();
        // Nobody may wait any more.
        let _ = sender.send(work());
        drop(place);
    };
    std::thread::Builder::new()
        .name("wharf-transfer".into())
        .stack_size(STACK)
        .spawn(run)
        .map_err(|e| Error::wrap(ErrorKind::Internal, "start a thread for the transfer", e))?;
    done.await.map_err(|_| Error::internal("the transfer broke off"))
}

/// The same for work whose end nobody waits for.
pub fn spawn(work: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        if let Err(e) = run(work).await {
            tracing::warn!("{}", e.full());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn transfers_that_stall_hold_nothing_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(1).build().unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
        for _ in 0..5 {
            let ended = ended.clone();
            runtime.spawn(run(move || ended.lock().unwrap().recv()));
        }
        let other = runtime.spawn_blocking(|| 7);
        assert_eq!(other.await.unwrap(), 7);
        assert_eq!(runtime.spawn(run(|| 8)).await.unwrap().unwrap(), 8);
        drop(end);
        runtime.shutdown_background();
    }
}
