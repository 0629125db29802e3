//! Layers and snapshots.
