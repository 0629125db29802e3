//! `cp`: files in and out of a container.

use super::Containers;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use wharf_model::container::ContainerRecord;
use wharf_model::snapshots::{PathStat, Tree, WriteOptions};
use wharf_model::{Error, ErrorKind, Result};

impl Containers {
    /// What is at a path of a container; a link is not followed. Blocks.
    pub fn stat_path(&self, record: &ContainerRecord, path: &Path) -> Result<PathStat> {
        let live = self.live_root(record)?;
        let found = self.shared.snapshots.stat(tree(record, live.as_ref()), path, false)?;
        found.ok_or_else(|| absent(record, path))
    }

    /// Writes what is at a path as a tar. Blocks.
    pub fn read_path(&self, record: &ContainerRecord, path: &Path, out: &mut dyn Write) -> Result<()> {
        let live = self.live_root(record)?;
        self.shared.snapshots.read_tar(tree(record, live.as_ref()), path, out)
    }

    /// Puts the entries of a tar below a directory that must be there. Blocks.
    pub fn write_path(
        &self,
        record: &ContainerRecord,
        path: &Path,
        tar: &mut dyn Read,
        options: WriteOptions,
    ) -> Result<()> {
        let live = self.live_root(record)?;
        match self.shared.snapshots.stat(tree(record, live.as_ref()), path, true)? {
            Some(stat) if stat.is_directory() => {}
            Some(_) => return Err(Error::invalid(format!("{} is not a directory", path.display()))),
            None => return Err(absent(record, path)),
        }
        match &live {
            // What is mounted in a running one may be written to; the kernel knows.
            None if record.spec.read_only => {
                Err(Error::new(ErrorKind::Forbidden, "container rootfs is marked read-only"))
            }
            Some(root) => self.shared.snapshots.write_live(root.as_fd(), path, tar, options),
            None => self.shared.snapshots.write_tar(record.id.as_str(), path, tar, options),
        }
    }

    /// The root directory of a running container as its processes see it, mounts included; `None` when none runs.
    pub(super) fn live_root(&self, record: &ContainerRecord) -> Result<Option<File>> {
        if !record.status.is_running() {
            return Ok(None);
        }
        let process = format!("/proc/{}", record.pid);
        let failed =
            |e| Error::wrap(ErrorKind::Internal, format!("open the root of container {}", record.name), e);
        let root = File::open(format!("{process}/root")).map_err(failed)?;
        // The number may be another process's by now, whose root this would be. The container's own may have gone into a
        // group below.
        let groups = std::fs::read_to_string(format!("{process}/cgroup")).map_err(failed)?;
        let cgroup = self.shared.cgroup_of(record);
        if groups.lines().any(|line| line.contains(&cgroup)) {
            Ok(Some(root))
        } else {
            Err(Error::conflict(format!("container {} is not running any more", record.name)))
        }
    }
}

pub(super) fn tree<'a>(record: &'a ContainerRecord, live: Option<&'a File>) -> Tree<'a> {
    live.map_or(Tree::Snapshot(record.id.as_str()), |root| Tree::Live(root.as_fd()))
}

fn absent(record: &ContainerRecord, path: &Path) -> Error {
    Error::not_found(format!("Could not find the file {} in container {}", path.display(), record.name))
}
