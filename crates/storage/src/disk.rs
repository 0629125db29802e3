//! Errors of the disk, with operation and path.

use std::path::Path;
use wharf_model::{Error, ErrorKind};

/// `Internal`: what was tried on which path.
pub(crate) fn failed(operation: &str, path: &Path, source: impl Into<std::io::Error>) -> Error {
    let source = source.into();
    let mend = match source.raw_os_error() {
        Some(28) => " (free some space on the disk that holds it)",
        Some(30) => " (the file system is mounted read-only)",
        _ => "",
    };
    Error::wrap(ErrorKind::Internal, format!("{operation} {}{mend}", path.display()), source)
}

/// Makes a directory with its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|e| failed("make directory", path, e))
}

/// Makes the entries of a directory survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    let dir = std::fs::File::open(path).map_err(|e| failed("open directory", path, e))?;
    dir.sync_all().map_err(|e| failed("sync directory", path, e))
}

/// Removes a tree; nothing happens if it is absent.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove directory", path, e)),
        _ => Ok(()),
    }
}
