//! What happens in the engine, for those who listen.

use crate::clock::now_ns;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Past events that are kept for `since`; Docker keeps as many.
const KEPT: usize = 256;
/// Events a slow listener may be behind before it loses the oldest.
const BEHIND: usize = 4096;

/// One event, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `container`, `image`, `network`, `volume`.
    pub kind: &'static str,
    /// `create`, `start`, `die` and so on.
    pub action: String,
    /// Id or name of the thing.
    pub id: String,
    /// Name, image, labels, exit code and so on.
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub at_ns: i128,
}

/// The engine's events. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    past: Arc<Mutex<VecDeque<Event>>>,
    sender: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { past: Arc::default(), sender: broadcast::channel(BEHIND).0 }
    }
}

impl Events {
    /// Tells everybody.
    pub fn publish(
        &self,
        kind: &'static str,
        action: impl Into<String>,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let event = Event { kind, action: action.into(), id: id.to_owned(), attributes, at_ns: now_ns() };
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Without listeners there is nobody to tell.
        let _ = self.sender.send(event);
    }

    /// Past events, and those to come, without a gap between.
    pub fn listen(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.sender.subscribe())
    }
}
