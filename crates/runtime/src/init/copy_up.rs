//! Copies an image's directory into a fresh tmpfs that is mounted over it (`tmpcopyup`).

use crate::error::{Doing, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Copies everything below `from` to `to`: content, mode, owner. Links are copied as links.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    copy_directory(from, to).doing("copy the image's content up")
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let kind = FileType::from_raw_mode(stat.st_mode);
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, mode)?;
                let from = rustix::fs::openat(from, name, flags | OFlags::DIRECTORY, Mode::empty())?;
                let to = rustix::fs::openat(to, name, flags | OFlags::DIRECTORY, Mode::empty())?;
                copy_directory(&from, &to)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            }
            FileType::RegularFile => {
                let from = rustix::fs::openat(from, name, flags, Mode::empty())?;
                let create = flags | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
                let to = rustix::fs::openat(to, name, create, mode)?;
                let (mut from, mut to) = (std::fs::File::from(from), std::fs::File::from(to));
                std::io::copy(&mut from, &mut to)
                    .map_err(|e| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::IO))?;
            }
            kind => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
        }
        let owner = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != FileType::Symlink {
            // chown clears set-id bits, and the umask took others.
            rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
        }
    }
    Ok(())
}
