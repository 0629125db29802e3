//! Images of file systems that lie below an overlay, or are mounted by themselves.

use super::mounts;
use crate::error::{Doing, Result};
use crate::userns::Namespace;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use wharf_sys::erofs;

/// Mounts of images that the engine shares with all its containers, detached.
#[derive(Default)]
pub struct Images {
    copies: Vec<(PathBuf, OwnedFd, Cell<bool>)>,
    /// What SELinux knows the files of an image by; empty for none.
    label: String,
}

impl Images {
    /// Takes copies of the engine's mounts, for this container to attach. Called in the engine's mount namespace. What
    /// the kernel does not copy is mounted anew, and not by the container's own process, whose cgroup lets it get at no loop
    /// devices.
    ///
    /// # Errors
    /// Of open_tree(2) and of mounting.
    pub fn copied<'a>(shared: impl Iterator<Item = (&'a PathBuf, OwnedFd)>, label: String) -> Result<Self> {
        let mut copies = Vec::new();
        for (path, mount) in shared {
            let what = || format!("mount {}", path.display());
            let mount = match erofs::copy(mount.as_fd()).doing(what())? {
                Some(copy) => copy,
                None => erofs::mount(path, &label).doing(what())?,
            };
            copies.push((path.clone(), mount, Cell::new(false)));
        }
        Ok(Self { copies, label })
    }

    /// What has to stay open for them.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.copies.iter().map(|(_, mount, _)| mount.as_fd())
    }

    /// The mount of an image, detached.
    pub(super) fn mount(&self, path: &Path) -> Result<OwnedFd> {
        let what = || format!("mount {}", path.display());
        match self.copies.iter().find(|(shared, _, used)| shared == path && !used.get()) {
            Some((_, mount, used)) => {
                // It can be attached once.
                used.set(true);
                mount.try_clone().doing(what())
            }
            None => erofs::mount(path, &self.label).doing(what()),
        }
    }
}

/// Whether a lower directory is an image.
pub(super) fn is_image(path: &Path) -> bool {
    erofs::Backing::of(path).is_some()
}

/// Images that are attached for a moment, all at the same point: overlayfs takes no lower directory that is not.
pub(super) struct Attached<'a> {
    point: &'a Path,
    mounts: Vec<OwnedFd>,
}

impl<'a> Attached<'a> {
    /// Attaches the images among `lower`; returns with them what to give to overlayfs.
    pub(super) fn new(
        point: &'a Path,
        lower: &[PathBuf],
        images: &Images,
        namespace: Option<&Namespace>,
    ) -> Result<(Self, Vec<PathBuf>)> {
        let mut attached = Self { point, mounts: Vec::new() };
        let mut paths = Vec::with_capacity(lower.len());
        let place = match lower.iter().any(|path| is_image(path)) {
            true => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                Some(rustix::fs::open(point, flags, Mode::empty()).doing("open the mount point")?)
            }
            false => None,
        };
        for path in lower {
            match &place {
                Some(place) if is_image(path) => {
                    let mount = images.mount(path)?;
                    if let Some(namespace) = namespace {
                        namespace
                            .map(mount.as_fd(), false)
                            .map_err(|e| super::overlay::unmappable(path, &e))?;
                    }
                    mounts::attach(mount.as_fd(), place.as_fd()).doing("attach an image")?;
                    paths.push(named(mount.as_fd()));
                    attached.mounts.push(mount);
                }
                _ => paths.push(path.clone()),
            }
        }
        Ok((attached, paths))
    }

    /// Takes them off; who was given them keeps them.
    pub(super) fn release(self) -> Result<()> {
        for _ in &self.mounts {
            rustix::mount::unmount(self.point, UnmountFlags::DETACH).doing("detach an image")?;
        }
        Ok(())
    }
}

fn named(fd: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string())
}
