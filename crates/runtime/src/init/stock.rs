//! File systems made ahead of the container they are for: nearly all containers have the same.

use super::{mounts, options, rootfs};
use crate::error::Result;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use wharf_oci::runtime_spec::Mount;

/// Detached mounts of this process's network and IPC namespaces.
#[derive(Default)]
pub struct Stock(Vec<(Mount, OwnedFd)>);

impl Stock {
    /// Makes the usual ones. `/proc` shows a PID namespace, and `/sys/fs/cgroup` a cgroup, that are not there yet.
    ///
    /// # Errors
    /// Those of the mounts.
    pub fn make() -> Result<Self> {
        let mut stock = Vec::new();
        for mount in Mount::usual() {
            if matches!(mount.kind.as_str(), "proc" | "cgroup") {
                continue;
            }
            let parsed = options::parse(&mount.options);
            let made = mounts::file_system(&mount.kind, &mount.source, &parsed.data, parsed.set)?;
            if mount.destination == "/dev" {
                rootfs::furnish_devices(made.as_fd())?;
            }
            stock.push((mount, made));
        }
        Ok(Self(stock))
    }

    /// The one that was made for just this mount.
    pub fn take(&mut self, mount: &Mount) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(made, _)| made == mount)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, fd)| fd.as_fd())
    }
}
