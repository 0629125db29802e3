//! Doors for `tests/fuzz`: what a server sends, without one.

use crate::checkout::files;
use crate::pack::Pack;
use std::io::Write;

/// Reads a pack, and the files of every commit in it.
///
/// # Panics
/// When the system gives no temporary file.
#[allow(clippy::unwrap_used)]
pub fn pack(data: &[u8]) {
    let open = || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        Pack::open(file)
    };
    let Ok(mut found) = open() else { return };
    for commit in found.commits().unwrap_or_default() {
        if let Ok(pack) = open()
            && let Ok(mut files) = files(pack, commit, "")
        {
            let _ = files.submodules();
            let _ = files.write(&mut std::io::sink());
        }
    }
}
