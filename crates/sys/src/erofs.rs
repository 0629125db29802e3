//! Mounting EROFS images whose content lies in other files, detached (fsopen(2), fsmount(2)).
//!
//! The image's device table names those files: a tag is a path relative to the image's own directory. The image and its
//! files belong to whoever mounts them; none may be changed while they are mounted.

use crate::loop_device;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MAGIC: [u8; 4] = 0xe0f5_e1e2u32.to_le_bytes();
const SUPERBLOCK: u64 = 1024;
const DEVICE_SIZE: usize = 128;
const TAG_SIZE: usize = 64;

/// How the kernel gets at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// From the files themselves (Linux 6.12).
    File,
    /// From loop devices over them.
    Loop,
}

/// Ends of an image's file name: what it is mounted with is part of what it is.
impl Backing {
    /// The extension of an image that is mounted this way.
    pub fn extension(self) -> &'static str {
        match self {
            Self::File => "erofs",
            Self::Loop => "loop",
        }
    }

    /// The way an image of this name is mounted; `None` for anything else.
    pub fn of(path: &Path) -> Option<Self> {
        [Self::File, Self::Loop].into_iter().find(|b| path.extension() == Some(b.extension().as_ref()))
    }
}

/// Mounts the image, which has a name that [`Backing::of`] knows, read-only. `label` is what SELinux knows all its files by;
/// empty leaves that to the policy.
///
/// # Errors
/// Of the kernel; `InvalidData` when it is no such image.
pub fn mount(image: &Path, label: &str) -> io::Result<OwnedFd> {
    let backing = Backing::of(image).ok_or_else(|| invalid("it has another name than an image"))?;
    let open = |path: &Path| {
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        opened.map_err(|e| io::Error::new(io::Error::from(e).kind(), format!("open {}: {e}", path.display())))
    };
    let main = File::from(open(image)?);
    let directory = image.parent().unwrap_or(Path::new("/"));
    let devices =
        devices(&main)?.iter().map(|tag| open(&directory.join(tag))).collect::<io::Result<Vec<_>>>()?;
    let main = OwnedFd::from(main);
    match backing {
        Backing::File => through(&paths(&main), &devices.iter().map(paths).collect::<Vec<_>>(), label),
        Backing::Loop => {
            // They go with the last mount that uses them.
            let main = loop_device::attach(main.as_fd())?;
            let devices =
                devices.iter().map(|d| loop_device::attach(d.as_fd())).collect::<io::Result<Vec<_>>>()?;
            through(&main.path, &devices.iter().map(|d| d.path.clone()).collect::<Vec<_>>(), label)
        }
    }
}

/// Short, whatever the length of the real one: an option's value has at most 255 bytes.
fn paths(file: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

fn through(source: &Path, devices: &[PathBuf], label: &str) -> io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};
    let fs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", source)?;
    for device in devices {
        fsconfig_set_string(&fs, "device", device.as_path())?;
    }
    if !label.is_empty() {
        fsconfig_set_string(&fs, "context", label)?;
    }
    rustix::mount::fsconfig_set_flag(&fs, "ro")?;
    fsconfig_create(&fs).map_err(|e| failed("have EROFS read it", e))?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(&fs, flags, MountAttrFlags::MOUNT_ATTR_RDONLY).map_err(|e| failed("make a mount of it", e))
}

/// The tags in the device table.
fn devices(image: &File) -> io::Result<Vec<PathBuf>> {
    let mut head = [0; 128];
    image.read_exact_at(&mut head, SUPERBLOCK)?;
    if head[..4] != MAGIC {
        return Err(invalid("it is no EROFS image"));
    }
    let number = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let (count, table) = (usize::from(number(86)), u64::from(number(88)) * DEVICE_SIZE as u64);
    let mut slots = vec![0; count * DEVICE_SIZE];
    image.read_exact_at(&mut slots, table)?;
    let tag = |slot: &[u8]| {
        let tag = &slot[..TAG_SIZE];
        let end = tag.iter().position(|b| *b == 0).unwrap_or(TAG_SIZE);
        PathBuf::from(std::ffi::OsStr::from_bytes(&tag[..end]))
    };
    Ok(slots.chunks_exact(DEVICE_SIZE).map(tag).collect())
}

fn failed(what: &str, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Another detached mount of the same file system, so that its pages are in memory once. Before Linux 6.15 only what is
/// attached can be copied: then it is `None`.
///
/// # Errors
/// Of open_tree(2).
pub fn copy(mount: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match rustix::mount::open_tree(mount, "", flags | OpenTreeFlags::AT_EMPTY_PATH) {
        Ok(copy) => Ok(Some(copy)),
        Err(rustix::io::Errno::INVAL) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Images that are mounted for all who need them, detached: nobody else sees them, and they go with this process.
#[derive(Debug, Default)]
pub struct Mounts {
    held: Mutex<Held>,
    label: String,
}

#[derive(Debug, Default)]
struct Held {
    mounts: HashMap<PathBuf, Arc<OwnedFd>>,
    /// How often one was let go of: what was being mounted meanwhile may be another file by now.
    forgotten: u64,
}

impl Mounts {
    /// Those whose files SELinux knows by a label.
    pub fn labelled(label: String) -> Self {
        Self { label, ..Self::default() }
    }

    /// The mount of an image, made at the first call.
    ///
    /// # Errors
    /// Those of [`mount`].
    pub fn get(&self, image: &Path) -> io::Result<Arc<OwnedFd>> {
        let before = {
            let held = self.held();
            if let Some(mount) = held.mounts.get(image) {
                return Ok(Arc::clone(mount));
            }
            held.forgotten
        };
        // The disk may take its time, for which nobody else waits; who was faster wins.
        let made = Arc::new(mount(image, &self.label)?);
        let mut held = self.held();
        if held.forgotten != before {
            return Ok(made);
        }
        Ok(Arc::clone(held.mounts.entry(image.to_owned()).or_insert(made)))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change is one insertion or removal.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Images that are mounted.
    pub fn len(&self) -> usize {
        self.held().mounts.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets go of an image. Who uses it keeps it.
    pub fn forget(&self, image: &Path) {
        let mut held = self.held();
        held.forgotten += 1;
        held.mounts.remove(image);
    }
}
