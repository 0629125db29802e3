//! What the daemon does when nobody asks it for anything.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use wharf_sys::memory;

/// How long without a request counts as idle: longer than the pauses between the steps of a script.
const QUIET: Duration = Duration::from_secs(2);

/// Gives memory back once after each time of activity. An idle daemon has no timer running.
pub(super) async fn give_memory_back(activity: Arc<Notify>) {
    loop {
        activity.notified().await;
        while tokio::time::timeout(QUIET, activity.notified()).await.is_ok() {}
        if let Err(e) = memory::give_back() {
            tracing::debug!("give memory back: {e}");
        }
    }
}
