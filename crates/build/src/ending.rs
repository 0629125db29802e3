//! The end of the engine, which ends its builds.

use std::sync::Arc;
use tokio::sync::watch;

/// Whether builds are to end. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<watch::Sender<bool>>);

impl Ending {
    /// Ends all builds, and those that would begin.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Waits for that.
    pub(crate) async fn begun(&self) {
        // The sender is ours: it is there as long as we wait.
        let _ = self.0.subscribe().wait_for(|ending| *ending).await;
    }
}
