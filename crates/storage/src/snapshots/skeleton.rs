//! The skeleton of every container's root as a directory that lies below all layers: making and removing a dozen inodes
//! for each container costs more than anything else a start does on disk.

use crate::disk::{failed, make_dir};
use std::io::ErrorKind::AlreadyExists;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use wharf_model::Result;
use wharf_model::snapshots::skeleton::{DIRECTORIES, FILES, LINKS};

/// Makes what is missing of it.
pub(super) fn make(root: &Path) -> Result<()> {
    for name in std::iter::once("").chain(DIRECTORIES) {
        let path = root.join(name);
        make_dir(&path)?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).map_err(|e| failed("set the mode of", &path, e))?;
    }
    for name in FILES {
        let path = root.join(name);
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path) {
            Err(e) if e.kind() != AlreadyExists => return Err(failed("make", &path, e)),
            _ => {}
        }
    }
    for (name, target) in LINKS {
        let path = root.join(name);
        match symlink(target, &path) {
            Err(e) if e.kind() != AlreadyExists => return Err(failed("make", &path, e)),
            _ => {}
        }
    }
    Ok(())
}
