//! The `Volumes` seam: directories of the host that outlive containers, by name.

use crate::error::Result;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Whose a volume's directory is from the beginning; what is left open is root's, mode 0755.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

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
    /// Makes a volume, or finds the one that is there; returns its directory. A crash leaves it whole or not there.
    fn create(&self, name: &str, ownership: &Ownership) -> Result<PathBuf>;
    /// A volume's directory.
    fn path(&self, name: &str) -> Result<PathBuf>;
    /// Removes a volume with its content; nothing happens if it is absent.
    fn remove(&self, name: &str) -> Result<()>;
    /// Calls a volume otherwise, whole or not at all. `Conflict` when there is one of that name.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Gives a volume's directory an owner and a mode, as far as they are said.
    fn own(&self, name: &str, ownership: &Ownership) -> Result<()>;
    /// Copies a directory of the host with its attributes into an empty volume that nobody uses, sharing the disk's
    /// blocks where the file system can, holes as holes.
    fn copy(&self, from: &Path, name: &str) -> Result<()>;
    /// Writes a directory of the host as a tar, with owners, extended attributes and hard links.
    fn export(&self, from: &Path, out: &mut dyn Write) -> Result<()>;
    /// Unpacks a tar into a directory of the host; no name and no link in it leads out.
    fn import(&self, into: &Path, tar: &mut dyn Read) -> Result<()>;
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
