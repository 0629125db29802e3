//! What every implementation of [`Snapshots`](super::Snapshots) does.
