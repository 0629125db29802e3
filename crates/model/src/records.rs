//! The `Records` seam: small documents that outlive every crash.
//!
//! A record is a JSON document under a kind and an id. A name is a unique handle, claimed for an id within
//! a kind. A batch applies wholly or not at all. Intent is written before its effect, so a restart finds
//! every half-done thing and undoes or finishes it.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod fake;

use crate::error::Result;

/// The collection a record belongs to; also the namespace of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Containers, by container id.
    Container,
    /// Images, by image id (`sha256:…`).
    Image,
    /// Image references (`docker.io/library/busybox:latest`) to image ids.
    Tag,
    /// When images were last used, by image id.
    ImageUse,
    /// Networks, by network id.
    Network,
    /// Volumes, by name.
    Volume,
    /// Layers, by chain id.
    Layer,
    /// Snapshots, by key.
    Snapshot,
    /// Build cache entries, by key digest.
    BuildCache,
    /// The engine's own: its id, schema.
    Engine,
}

impl RecordKind {
    /// The name of the kind where it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Tag => "tag",
            Self::ImageUse => "image-use",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Layer => "layer",
            Self::Snapshot => "snapshot",
            Self::BuildCache => "build-cache",
            Self::Engine => "engine",
        }
    }
}

/// One change in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a document, replacing one of the same kind and id.
    Put {
        /// The collection.
        kind: RecordKind,
        /// The id within it.
        id: String,
        /// The document.
        body: Vec<u8>,
    },
    /// Removes a document; nothing happens if it is not there.
    Delete {
        /// The collection.
        kind: RecordKind,
        /// The id within it.
        id: String,
    },
    /// Takes a name for an id. Fails the batch with `Conflict` when another id holds it.
    Claim {
        /// The namespace.
        kind: RecordKind,
        /// The name.
        name: String,
        /// The id that shall hold it.
        id: String,
    },
    /// Gives a name up; nothing happens if it is not taken.
    Release {
        /// The namespace.
        kind: RecordKind,
        /// The name.
        name: String,
    },
}

/// What an acknowledged batch survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A crash of any process; a power cut may lose the last batches, never tear one.
    Process,
    /// A power cut as well.
    Power,
}

/// Documents and names, kept by one writer.
///
/// Errors: `Conflict` when a claimed name is taken (the message names the holder's id), `Internal` when the
/// store cannot be read or written.
pub trait Records: Send + Sync {
    /// Applies all changes or none.
    fn commit(&self, batch: Vec<Change>, durability: Durability) -> Result<()>;
    /// The document of an id.
    fn get(&self, kind: RecordKind, id: &str) -> Result<Option<Vec<u8>>>;
    /// All documents of a kind, in order of id.
    fn list(&self, kind: RecordKind) -> Result<Vec<(String, Vec<u8>)>>;
    /// The id that holds a name.
    fn holder(&self, kind: RecordKind, name: &str) -> Result<Option<String>>;
}
