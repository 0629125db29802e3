//! Docker Engine API: routes, wire to domain, errors to statuses.
//!
//! ```text
//! socket ─▶ serve (version prefix) ─▶ routes ─▶ handler: wire → domain ─▶ engine
//! ```
#![forbid(unsafe_code)]

mod absent;
mod body;
mod build;
mod build_cache;
mod buildkit;
pub mod containers;
mod convert;
mod disk;
mod error;
mod events;
mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gc;
mod git;
mod images;
mod line;
mod networks;
mod params;
mod peer;
mod routes;
mod serve;
mod stream;
mod system;
mod taken;
mod verify;
mod version;
mod volumes;

pub use error::ApiError;
pub use routes::router;
pub use serve::{Listener, serve};
pub use version::{API_VERSION, MIN_API_VERSION};

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use wharf_engine::containers::Containers;
use wharf_engine::events::Events;
use wharf_engine::execs::Execs;
use wharf_engine::gc::Gc;
use wharf_engine::images::Images;
use wharf_engine::networks::Networks;
use wharf_engine::volumes::VolumeService;

/// What the handlers serve.
#[derive(Clone)]
pub struct Api {
    /// Containers.
    pub containers: Arc<Containers>,
    /// Further processes.
    pub execs: Arc<Execs>,
    /// Garbage collection.
    pub gc: Arc<Gc>,
    /// Builds images.
    pub builder: wharf_build::Builder,
    /// The same as BuildKit's clients see it.
    pub buildkit: wharf_buildkit::BuildKit,
    /// Images.
    pub images: Images,
    /// Networks.
    pub networks: Arc<Networks>,
    /// Volumes.
    pub volumes: Arc<VolumeService>,
    /// What happens.
    pub events: Events,
    /// What the engine is.
    pub about: Arc<About>,
}

/// What the engine tells of itself.
#[derive(Debug)]
pub struct About {
    /// The engine's id.
    pub id: String,
    /// Our version.
    pub version: String,
    /// Directory of all data.
    pub data_root: PathBuf,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// How root file systems are made.
    pub storage: String,
    /// How layers of images are kept, and why not better.
    pub layers: String,
    /// Debug output is on.
    pub debug: AtomicBool,
    /// The engine's labels, as key=value.
    pub labels: Mutex<Vec<String>>,
    /// Where output of containers goes that do not say.
    pub log: wharf_model::container::LogSpec,
    /// Containers run in user namespaces unless they ask for the host's.
    pub remaps_users: bool,
    /// Where devices are described that are asked for by name, the later one wins.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Containers have SELinux labels.
    pub labels_containers: bool,
}
