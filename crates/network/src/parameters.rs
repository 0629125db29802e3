//! The kernel's parameters of a network namespace (`/proc/sys/net`).

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// How many namespaces are looked at through one procfs. A procfs has one list of all names that were looked up in it, each
/// once for every namespace: with a thousand of them a look takes 250 µs, with so few 14.
const NAMESPACES: u32 = 32;

/// A procfs that is mounted nowhere, and how often it may be used yet.
struct Procfs {
    root: Arc<OwnedFd>,
    left: u32,
}

static PROCFS: Mutex<Option<Procfs>> = Mutex::new(None);

/// Writes a parameter, named by its path below `/proc/sys`, of the calling thread's network namespace.
pub(crate) fn write(path: &str, value: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = openat2(&*procfs()?, format!("sys/{path}"), flags, Mode::empty(), beneath)?;
    rustix::io::write(&file, value.as_bytes()).map(|_| ())
}

fn procfs() -> Result<Arc<OwnedFd>, Errno> {
    let mut kept = PROCFS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(procfs) = kept.as_mut().filter(|procfs| procfs.left > 0) {
        procfs.left -= 1;
        return Ok(procfs.root.clone());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // In a user namespace that sees only parts of procfs there may be no further one.
    let root = Arc::new(new_procfs().or_else(|_| open("/proc", flags, Mode::empty()))?);
    *kept = Some(Procfs { root: root.clone(), left: NAMESPACES - 1 });
    Ok(root)
}

fn new_procfs() -> Result<OwnedFd, Errno> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
