//! Volumes of the `local` driver: `volumes/<name>/_data`.

mod copy;

use crate::disk::{failed, make_dir, remove_tree, sync_dir};
use crate::snapshots::{inside, trees};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wharf_failpoint::failpoint;
use wharf_model::ids::is_valid_name;
use wharf_model::volumes::{Ownership, VolumeMount, Volumes};
use wharf_model::{Error, ErrorKind, Result};

/// Before the names of volumes on their way in; no volume's name begins so.
const PART: &str = ".new.";

/// The `Volumes` seam on a directory.
pub struct LocalVolumes {
    root: PathBuf,
    /// How many were made: a name behind [`PART`] could be longer than a directory's may be.
    made: AtomicU64,
}

impl LocalVolumes {
    /// Opens the store below `root`, made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.join("volumes");
        make_dir(&root)?;
        let mode = std::fs::Permissions::from_mode(0o701);
        std::fs::set_permissions(&root, mode).map_err(|e| failed("set the mode of", &root, e))?;
        for entry in std::fs::read_dir(&root).map_err(|e| failed("list", &root, e))? {
            let entry = entry.map_err(|e| failed("list", &root, e))?;
            // What a crash left of a creation.
            if entry.file_name().as_encoded_bytes().starts_with(PART.as_bytes()) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(Self { root, made: AtomicU64::new(0) })
    }

    /// Both are made of a name that was checked: it can lead nowhere else.
    fn dir(&self, name: &str) -> Result<PathBuf> {
        if is_valid_name(name) && name.len() <= 255 {
            return Ok(self.root.join(name));
        }
        Err(Error::invalid(format!(
            "{name:?} includes invalid characters for a local volume name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are \
             allowed, two to 255 of them; for a directory of the host give its absolute path"
        )))
    }
}

impl Volumes for LocalVolumes {
    fn create(&self, name: &str, ownership: &Ownership) -> Result<PathBuf> {
        let dir = self.dir(name)?;
        let data = dir.join("_data");
        if data.is_dir() {
            return Ok(data);
        }
        // So that it appears with its owner.
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let part = self.root.join(format!("{PART}{number}"));
        let made = part.join("_data");
        make_dir(&made)?;
        failpoint!("volume.made");
        own(&made, &Ownership { mode: ownership.mode.or(Some(0o755)), ..*ownership })?;
        match std::fs::rename(&part, &dir) {
            // Something is there that is no volume, such as what a crash left of a removal.
            Err(e) if e.raw_os_error() == Some(Errno::NOTEMPTY.raw_os_error()) => {
                std::fs::rename(&made, &data).map_err(|e| failed("make directory", &data, e))?;
                remove_tree(&part)?;
            }
            result => result.map_err(|e| failed("make directory", &dir, e))?,
        }
        Ok(data)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.dir(from)?, self.dir(to)?);
        let here = rustix::fs::CWD;
        match rustix::fs::renameat_with(here, &from, here, &to, RenameFlags::NOREPLACE) {
            Ok(()) => {
                failpoint!("volume.renamed");
                sync_dir(&self.root)
            }
            Err(Errno::EXIST) => Err(Error::conflict(format!("{} is there already", to.display()))),
            Err(e) => Err(failed("rename", &from, e)),
        }
    }

    fn own(&self, name: &str, ownership: &Ownership) -> Result<()> {
        own(&self.path(name)?, ownership)
    }

    fn copy(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.path(name)?;
        copy::tree(opened(from)?.as_fd(), opened(&to)?.as_fd())
            .map_err(|e| failed("copy the content of", from, e))
    }

    fn export(&self, from: &Path, out: &mut dyn Write) -> Result<()> {
        trees::pack(opened(from)?.as_fd(), out)
    }

    fn import(&self, into: &Path, tar: &mut dyn Read) -> Result<()> {
        trees::unpack(opened(into)?.as_fd(), tar)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let data = self.dir(name)?.join("_data");
        if data.is_dir() { Ok(data) } else { Err(Error::not_found(format!("get {name}: no such volume"))) }
    }

    fn mount(&self, name: &str, what: &VolumeMount) -> Result<()> {
        let data = self.path(name)?;
        if is_mounted(&data)? {
            return Ok(());
        }
        let (flags, options) = parse_options(&what.options);
        rustix::mount::mount(&*what.device, &data, &*what.kind, flags, &*c_text(&options)?).map_err(|e| {
            let shown = if options.is_empty() { String::new() } else { format!(", data: {options}") };
            let text = format!(
                "failed to mount local volume: mount {}:{}, flags: {:#x}{shown}",
                what.device,
                data.display(),
                flags.bits()
            );
            Error::wrap(ErrorKind::Internal, text, std::io::Error::from(e))
        })
    }

    fn unmount(&self, name: &str) -> Result<()> {
        let data = self.path(name)?;
        if !is_mounted(&data)? {
            return Ok(());
        }
        rustix::mount::unmount(&data, UnmountFlags::DETACH)
            .map_err(|e| failed("unmount", &data, std::io::Error::from(e)))
    }

    fn remove(&self, name: &str) -> Result<()> {
        // What is mounted is not the volume's to remove.
        match self.unmount(name) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        remove_tree(&self.dir(name)?)
    }

    fn list(&self) -> Result<Vec<String>> {
        let unreadable = |e| failed("list", &self.root, e);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            // What has another name was not made here.
            names.extend(name.to_str().filter(|n| is_valid_name(n)).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn size(&self, name: &str) -> Result<u64> {
        let path = self.path(name)?;
        let dir = std::fs::File::open(&path).map_err(|e| failed("open", &path, e))?;
        crate::snapshots::tree_size(&dir).map_err(|e| failed("measure", &path, e))
    }

    fn is_empty(&self, name: &str) -> Result<bool> {
        let path = self.path(name)?;
        Ok(std::fs::read_dir(&path).map_err(|e| failed("list", &path, e))?.next().is_none())
    }
}

fn opened(path: &Path) -> Result<OwnedFd> {
    inside::open_root(path).map_err(|e| failed("open", path, e))
}

fn own(path: &Path, ownership: &Ownership) -> Result<()> {
    if ownership.uid.is_some() || ownership.gid.is_some() {
        std::os::unix::fs::chown(path, ownership.uid, ownership.gid)
            .map_err(|e| failed("set the owner of", path, e))?;
    }
    let Some(mode) = ownership.mode else { return Ok(()) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| failed("set the mode of", path, e))
}

/// The volume's directory and the one above it are of one file system unless something is mounted.
fn is_mounted(data: &Path) -> Result<bool> {
    let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).map_err(|e| failed("stat", path, e));
    let above = data.parent().unwrap_or(data);
    Ok(device(data)? != device(above)?)
}

fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|e| Error::wrap(ErrorKind::Invalid, "read the volume's options", e))
}

/// Options of mount(8) that the kernel takes as flags, and the rest, which the file system reads.
fn parse_options(text: &str) -> (MountFlags, String) {
    let (mut flags, mut rest) = (MountFlags::empty(), Vec::new());
    for option in text.split(',').filter(|o| !o.is_empty()) {
        flags |= match option {
            "ro" => MountFlags::RDONLY,
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            "sync" => MountFlags::SYNCHRONOUS,
            "dirsync" => MountFlags::DIRSYNC,
            "noatime" => MountFlags::NOATIME,
            "nodiratime" => MountFlags::NODIRATIME,
            "relatime" => MountFlags::RELATIME,
            "strictatime" => MountFlags::STRICTATIME,
            "rw" | "suid" | "dev" | "exec" | "async" | "atime" | "defaults" => MountFlags::empty(),
            other => {
                rest.push(other);
                MountFlags::empty()
            }
        };
    }
    (flags, rest.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_the_file_systems() {
        let (flags, rest) = parse_options("rw,nosuid,size=1m,noexec,uid=7");
        assert_eq!((flags, rest.as_str()), (MountFlags::NOSUID | MountFlags::NOEXEC, "size=1m,uid=7"));
    }

    #[test]
    fn a_volume_lives_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = LocalVolumes::open(dir.path()).unwrap();
        assert_eq!(volumes.path("data").unwrap_err().kind(), ErrorKind::NotFound);
        let long = "a".repeat(255);
        volumes.create(&long, &Ownership::default()).unwrap();
        volumes.remove(&long).unwrap();
        let path = volumes.create("data", &Ownership::default()).unwrap();
        assert!(volumes.is_empty("data").unwrap());
        std::fs::write(path.join("a"), "12345").unwrap();
        std::fs::hard_link(path.join("a"), path.join("b")).unwrap();
        assert_eq!(volumes.create("data", &Ownership::default()).unwrap(), path);
        assert_eq!(volumes.size("data").unwrap(), 5);
        assert!(!volumes.is_empty("data").unwrap());
        assert_eq!(volumes.list().unwrap(), ["data"]);
        volumes.remove("data").unwrap();
        volumes.remove("data").unwrap();
        assert!(volumes.list().unwrap().is_empty());
    }

    #[test]
    fn a_volume_gets_another_name_and_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = LocalVolumes::open(dir.path()).unwrap();
        let ownership = Ownership { mode: Some(0o2770), ..Ownership::default() };
        let path = volumes.create("old", &ownership).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o2770);
        std::fs::create_dir(dir.path().join("volumes/.new.half")).unwrap();
        let volumes = LocalVolumes::open(dir.path()).unwrap();
        assert!(!dir.path().join("volumes/.new.half").exists());
        volumes.create("taken", &Ownership::default()).unwrap();
        assert_eq!(volumes.rename("old", "taken").unwrap_err().kind(), ErrorKind::Conflict);
        volumes.rename("old", "new").unwrap();
        assert_eq!(volumes.list().unwrap(), ["new", "taken"]);
        // What a crash left of a removal is no volume.
        std::fs::remove_dir(volumes.path("new").unwrap()).unwrap();
        std::fs::create_dir(dir.path().join("volumes/new/rest")).unwrap();
        volumes.create("new", &Ownership::default()).unwrap();
        assert!(volumes.is_empty("new").unwrap());
    }

    #[test]
    fn names_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = LocalVolumes::open(dir.path()).unwrap();
        for bad in ["", ".", "..", "../x", "a/b", "/etc", "-x"] {
            assert_eq!(
                volumes.create(bad, &Ownership::default()).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{bad}"
            );
            assert_eq!(volumes.remove(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
