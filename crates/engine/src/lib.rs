//! Containers, images, networks, volumes, exec, events, logs, stats as separate services.
//!
//! A service takes exactly the collaborators it uses. Wire types never come in here.
#![forbid(unsafe_code)]

pub mod clock;
pub mod containers;
pub mod events;
pub mod execs;
pub mod gc;
pub mod images;
pub mod logs;
pub mod networks;
pub mod random;
pub mod security;
pub mod volumes;

/// Work at a client's pace; a registry in the same process shares the places.
pub use wharf_distribution::transfer;
