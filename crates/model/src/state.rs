//! The life of a container as a pure function.
//!
//! ```text
//!             ┌──────── StartFailed ───────┐
//!             ▼                            │
//!  Created ──Start──▶ Starting ──Started──▶ Running ◀──Unpause── Paused
//!             ▲           ▲                  │  └─────Pause──────▶ │
//!             │           │                Exited ◀────Exited──────┘
//!             └───Start───┼──────────────────┤
//!                         └─Start─ Restarting ◀── Backoff (restart policy)
//!  any but Starting ──Remove──▶ Removing ──▶ gone
//! ```

use crate::error::Error;
use serde::{Deserialize, Serialize};

/// Where a container is in its life; Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    Created,
    /// On its way to run; on the wire still `created` or `exited`, so it is never shown.
    Starting,
    /// Its first process runs.
    Running,
    /// All its processes are stopped for a while.
    Paused,
    /// Ended, and about to be started again by its restart policy.
    Restarting,
    /// Ended.
    Exited,
    /// Being removed.
    Removing,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created | Self::Starting => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }

    /// Whether there is a process.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants it to run.
    Start,
    /// Its program runs.
    Started,
    /// It did not come to run.
    StartFailed,
    /// Its processes were stopped for a while.
    Pause,
    /// They go on.
    Unpause,
    /// Its first process ended.
    Exited,
    /// Its restart policy will start it again.
    Backoff,
    /// A pending restart was called off.
    GiveUp,
    /// It is to go. `force` ends a running one first.
    Remove {
        /// Also when it runs.
        force: bool,
    },
}

/// The next status, or why the event cannot happen now. `name` is for the message.
pub fn step(status: Status, event: Event, name: &str) -> Result<Status, Error> {
    use Event as E;
    use Status as S;
    Ok(match (status, event) {
        (S::Created | S::Exited | S::Restarting, E::Start) => S::Starting,
        (S::Running | S::Starting, E::Start) => {
            return Err(Error::new(
                crate::ErrorKind::NotModified,
                format!("container {name} is already running"),
            ));
        }
        (S::Paused, E::Start) => {
            return Err(Error::conflict("cannot start a paused container, try unpause instead"));
        }
        (S::Removing, E::Start) => {
            return Err(Error::conflict("container is marked for removal and cannot be started"));
        }
        (S::Starting, E::Started) => S::Running,
        (S::Starting, E::StartFailed) => S::Exited,
        (S::Running, E::Pause) => S::Paused,
        (S::Paused, E::Pause) => return Err(Error::conflict(format!("Container {name} is already paused"))),
        (S::Paused, E::Unpause) => S::Running,
        // Docker does not call this one a conflict.
        (_, E::Unpause) => return Err(Error::internal(format!("Container {name} is not paused"))),
        (_, E::Pause) => return Err(Error::conflict(format!("container {name} is not running"))),
        (S::Running | S::Paused | S::Starting, E::Exited) => S::Exited,
        (S::Exited, E::Backoff) => S::Restarting,
        (S::Restarting, E::GiveUp) => S::Exited,
        (S::Running | S::Paused | S::Restarting | S::Starting, E::Remove { force: false }) => {
            let hint = if status == S::Paused {
                "container is paused and must be unpaused first"
            } else {
                "stop the container before removing or force remove"
            };
            return Err(Error::conflict(format!(
                "cannot remove container \"{name}\": container is {}: {hint}",
                status.as_str()
            )));
        }
        (S::Removing, E::Remove { .. }) => {
            return Err(Error::conflict(format!("removal of container {name} is already in progress")));
        }
        (_, E::Remove { .. }) => S::Removing,
        (status, event) => {
            return Err(Error::internal(format!(
                "container {name} is {}: {event:?} cannot happen",
                status.as_str()
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_life() {
        let mut status = Status::Created;
        for (event, expected) in [
            (Event::Start, Status::Starting),
            (Event::Started, Status::Running),
            (Event::Pause, Status::Paused),
            (Event::Unpause, Status::Running),
            (Event::Exited, Status::Exited),
            (Event::Backoff, Status::Restarting),
            (Event::Start, Status::Starting),
            (Event::StartFailed, Status::Exited),
            (Event::Remove { force: false }, Status::Removing),
        ] {
            status = step(status, event, "web").unwrap();
            assert_eq!(status, expected);
        }
    }

    #[test]
    fn refusals_have_a_kind() {
        let kind = |status, event| step(status, event, "web").unwrap_err().kind();
        assert_eq!(kind(Status::Running, Event::Start), ErrorKind::NotModified);
        assert_eq!(kind(Status::Running, Event::Remove { force: false }), ErrorKind::Conflict);
        assert_eq!(kind(Status::Created, Event::Pause), ErrorKind::Conflict);
        assert_eq!(kind(Status::Removing, Event::Remove { force: true }), ErrorKind::Conflict);
    }
}
