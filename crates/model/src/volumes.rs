//! The `Volumes` seam: directories of the host that outlive containers, by name.

use crate::error::Result;
use std::path::PathBuf;

/// What a volume shows in place of a directory of its own (options `type`, `device` and `o`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// Type of the file system, such as `tmpfs` or `nfs`.
    pub kind: String,
    /// What is mounted.
    pub device: String,
    /// Options of mount(8), separated by commas.
    pub options: String,
}

/// Volumes of the `local` driver.
///
/// Errors: `Invalid` for a name that may not be one, `NotFound` for an absent volume, `Internal` for the
/// disk's failures. Who uses a volume, and its labels, are the engine's to know.
pub trait Volumes: Send + Sync {
    /// Makes a volume, or finds the one that is there; returns its directory.
    fn create(&self, name: &str) -> Result<PathBuf>;
    /// A volume's directory.
    fn path(&self, name: &str) -> Result<PathBuf>;
    /// Removes a volume with its content; nothing happens if it is absent.
    fn remove(&self, name: &str) -> Result<()>;
    /// Every volume's name, sorted.
    fn list(&self) -> Result<Vec<String>>;
    /// Bytes of the files in a volume; a file with several names counts once.
    fn size(&self, name: &str) -> Result<u64>;
    /// Mounts something on a volume's directory; nothing happens when there is something already.
    fn mount(&self, name: &str, what: &VolumeMount) -> Result<()>;
    /// Unmounts it again; nothing happens when there is nothing.
    fn unmount(&self, name: &str) -> Result<()>;
    /// Whether a volume holds nothing, so that an image's content may be copied into it.
    fn is_empty(&self, name: &str) -> Result<bool>;
}
