//! `cp`: files in and out of a container.

use super::Containers;
use std::io::{Read, Write};
use std::path::Path;
use wharf_model::container::ContainerRecord;
use wharf_model::snapshots::{PathStat, Tree, WriteOptions};
use wharf_model::{Error, Result};

impl Containers {
    /// What is at a path of a container; a link is not followed. Blocks.
    pub fn stat_path(&self, record: &ContainerRecord, path: &Path) -> Result<PathStat> {
        let found = self.shared.snapshots.stat(Tree::Snapshot(record.id.as_str()), path, false)?;
        found.ok_or_else(|| {
            Error::not_found(format!(
                "Could not find the file {} in container {}",
                path.display(),
                record.name
            ))
        })
    }

    /// Writes what is at a path as a tar. Blocks.
    pub fn read_path(&self, record: &ContainerRecord, path: &Path, out: &mut dyn Write) -> Result<()> {
        self.shared.snapshots.read_tar(Tree::Snapshot(record.id.as_str()), path, out)
    }

    /// Puts the entries of a tar below a directory that must be there. Blocks.
    pub fn write_path(
        &self,
        record: &ContainerRecord,
        path: &Path,
        tar: &mut dyn Read,
        options: WriteOptions,
    ) -> Result<()> {
        if record.status.is_running() {
            return Err(Error::unsupported(
                "copying into a running container is not supported yet: stop it first, or use `exec -i CONTAINER tar x`",
            ));
        }
        let tree = Tree::Snapshot(record.id.as_str());
        match self.shared.snapshots.stat(tree, path, true)? {
            Some(stat) if stat.is_directory() => {}
            Some(_) => return Err(Error::invalid(format!("{} is not a directory", path.display()))),
            None => {
                return Err(Error::not_found(format!(
                    "Could not find the file {} in container {}",
                    path.display(),
                    record.name
                )));
            }
        }
        self.shared.snapshots.write_tar(record.id.as_str(), path, tar, options)
    }
}
