//! What long operations tell while they run.

use std::sync::Arc;
use std::time::{Duration, Instant};
use wharf_oci::digest::Digest;

/// How often at most the same bar is moved.
const PERIOD: Duration = Duration::from_millis(100);

/// One line of news. `id` is the first 12 digits of a layer's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A pull begins: `latest: Pulling from library/busybox`.
    PullingFrom {
        /// The tag or digest.
        selector: String,
        /// The repository's path.
        path: String,
    },
    /// `Pulling fs layer`.
    PullingLayer {
        /// The layer.
        id: String,
    },
    /// `Already exists`.
    AlreadyExists {
        /// The layer.
        id: String,
    },
    /// `Downloading`.
    Downloading {
        /// The layer.
        id: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// `Verifying Checksum`.
    Verifying {
        /// The layer.
        id: String,
    },
    /// `Download complete`.
    Downloaded {
        /// The layer.
        id: String,
    },
    /// `Extracting`; counts the bytes of the blob.
    Extracting {
        /// The layer.
        id: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// `Pull complete`.
    Pulled {
        /// The layer.
        id: String,
    },
    /// `Digest: sha256:…`.
    Digest(Digest),
    /// `Status: …`.
    Status(String),
    /// A push begins: `The push refers to repository […]`.
    PushingTo {
        /// Registry and path.
        repository: String,
    },
    /// `Preparing`.
    Preparing {
        /// The layer.
        id: String,
    },
    /// `Pushing`.
    Pushing {
        /// The layer.
        id: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// `Pushed`.
    Pushed {
        /// The layer.
        id: String,
    },
    /// `Layer already exists`.
    LayerExists {
        /// The layer.
        id: String,
    },
    /// `Mounted from …`.
    Mounted {
        /// The layer.
        id: String,
        /// The repository's path it came from.
        from: String,
    },
    /// A push is done: `latest: digest: sha256:… size: 527`.
    PushedManifest {
        /// The tag.
        tag: String,
        /// The manifest's digest.
        digest: Digest,
        /// The manifest's size in bytes.
        size: u64,
    },
    /// `Loaded image: busybox:latest`.
    Loaded {
        /// The familiar reference, or `None` for an image without a name.
        reference: Option<String>,
        /// The image.
        id: Digest,
    },
}

/// Where news goes. It must not block.
pub type Progress = Arc<dyn Fn(Event) + Send + Sync>;

/// The first 12 digits.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

/// Lets through as many moves of a bar as a person can see, and always the last.
pub(super) struct Throttle(Option<Instant>);

impl Throttle {
    pub(super) fn new() -> Self {
        Self(None)
    }

    pub(super) fn is_due(&mut self, current: u64, total: u64) -> bool {
        let due = current >= total || self.0.is_none_or(|last| last.elapsed() >= PERIOD);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
