//! The data root: one directory, one daemon.

use crate::disk::{failed, make_dir};
use std::fs::File;
use std::path::{Path, PathBuf};
use wharf_model::{Error, Result};

/// A data root that this process owns until the value is dropped. The kernel gives the lock back when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct DataRoot {
    path: PathBuf,
    _lock: File,
}

impl DataRoot {
    /// Takes the directory, made if it is not there. `Conflict` when another daemon has it. Nobody but root and `group`,
    /// which is that of containers' root, gets into it: programs with set-user-id that a container leaves in a volume
    /// would be run by users of the host.
    pub fn open(path: &Path, group: u32) -> Result<Self> {
        make_dir(path)?;
        std::os::unix::fs::chown(path, None, Some(group)).map_err(|e| failed("set the group of", path, e))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o710);
        std::fs::set_permissions(path, mode).map_err(|e| failed("set the mode of", path, e))?;
        let lock_path = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|e| failed("open", &lock_path, e))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::conflict(format!(
                "the data root {} is in use by another daemon: stop it, or give this one another --data-root",
                path.display()
            ))),
            Err(e) => Err(failed("lock", &lock_path, e)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_model::ErrorKind;

    #[test]
    fn one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(dir.path()).unwrap());
        let first = DataRoot::open(dir.path(), group).unwrap();
        assert_eq!(DataRoot::open(dir.path(), group).unwrap_err().kind(), ErrorKind::Conflict);
        drop(first);
        DataRoot::open(dir.path(), group).unwrap();
    }
}
