//! A little space kept for the records, so that on a full disk things can still be ended and removed.

use rustix::fs::FallocateFlags;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes kept: a few hundred changes, after which the write-ahead log is written from its beginning again.
const SIZE: u64 = 1 << 20;

/// The file that holds the space of some records, where it could be made.
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    pub(super) fn of(records: &Path) -> Self {
        let mut reserve = Self { path: records.with_added_extension("reserve"), held: false };
        reserve.keep();
        reserve
    }

    /// Takes the space again, if it is not held.
    pub(super) fn keep(&mut self) {
        if self.held {
            return;
        }
        let made = File::options().create(true).truncate(false).write(true).mode(0o600).open(&self.path);
        let taken = made.and_then(|file| {
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SIZE).map_err(std::io::Error::from)
        });
        self.held = taken.is_ok();
        if let Err(e) = taken {
            tracing::debug!("keep a reserve for the records: {e}");
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Gives the space up; whether there was some.
    pub(super) fn give_up(&mut self) -> bool {
        std::mem::take(&mut self.held) && std::fs::remove_file(&self.path).is_ok()
    }
}
