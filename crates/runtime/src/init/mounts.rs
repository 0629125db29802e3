//! Makes single mounts: first detached from any tree, then attached to a place inside the root.
//!
//! The place is resolved with openat2(2) and RESOLVE_IN_ROOT and attached to by descriptor, so nothing in the
//! image can lead a mount out of the root.

use super::options::Options;
use crate::error::{Doing, Error, Result};
use crate::userns::Namespace;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::os::fd::AsRawFd;
use std::path::{Component, Path};
use wharf_oci::runtime_spec::Mount;
use wharf_sys::mount::{Change, attr, propagation, set_attributes};
use wharf_sys::process::{self, flag};

/// Opens a path inside a root, following links only within it.
pub fn open_in(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        // EAGAIN: somebody renamed something on the way, ask again.
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// What a mount's destination has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Directory,
    /// Anything that is not a directory.
    File,
}

/// Opens the destination, making it (and the directories above) where it is missing.
pub fn open_place(root: BorrowedFd<'_>, path: &str, place: Place) -> rustix::io::Result<OwnedFd> {
    match open_in(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let names: Vec<&str> = Path::new(path)
        .components()
        .filter_map(|c| if let Component::Normal(n) = c { n.to_str() } else { None })
        .collect();
    let Some((last, parents)) = names.split_last() else { return open_in(root, "/", OFlags::PATH) };
    let mut so_far = String::from("/");
    for name in parents {
        make_directory(root, &so_far, name)?;
        so_far = format!("{so_far}{name}/");
    }
    match place {
        Place::Directory => make_directory(root, &so_far, last)?,
        Place::File => {
            let parent = open_in(root, &so_far, OFlags::PATH | OFlags::DIRECTORY)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&parent, *last, flags, Mode::from_raw_mode(0o644)) {
                Ok(_) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
        }
    }
    open_in(root, path, OFlags::PATH)
}

fn make_directory(root: BorrowedFd<'_>, parent: &str, name: &str) -> rustix::io::Result<()> {
    let parent = open_in(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Whether a descriptor is a directory.
pub fn is_directory(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// A new file system, detached. `data` is `key=value` or a flag.
pub fn file_system(kind: &str, source: &str, data: &[String], attributes: u64) -> Result<OwnedFd> {
    let what = || format!("mount {kind}");
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).doing(what())?;
    if !source.is_empty() {
        fsconfig_set_string(fs.as_fd(), "source", source).doing(what())?;
    }
    for option in data {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(fs.as_fd(), key, value),
            None => fsconfig_set_flag(fs.as_fd(), option.as_str()),
        }
        .doing(format_args!("mount {kind} with option {option:?}"))?;
    }
    fsconfig_create(fs.as_fd()).doing(what())?;
    let flags = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags).doing(what())
}

/// A copy of an existing mount at a path of the host, detached.
pub fn bind(source: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, source, tree_flags(recursive))
}

/// A copy of the mount behind a descriptor, detached.
pub fn bind_fd(source: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    open_tree(source, "", tree_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
}

fn tree_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Attaches a detached mount to a place.
pub fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags)
}

/// Sets attributes and propagation of an attached mount. Kernels before 5.12 have no mount_setattr(2):
/// there it is a remount, which cannot act on what is mounted below.
pub fn change(mount: BorrowedFd<'_>, options: &Options) -> Result<()> {
    let mut result = Ok(());
    if options.set | options.clear != 0 {
        let change = Change {
            set: options.set,
            clear: options.clear,
            propagation: 0,
            recursive: options.attributes_recursive,
        };
        result = set_attributes(mount, change, None);
    }
    if let (Ok(()), Some((kind, recursive))) = (&result, options.propagation) {
        result = set_attributes(mount, Change { propagation: kind, recursive, ..Change::default() }, None);
    }
    match result {
        Err(e) if e.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => change_by_remount(mount, options),
        other => other.doing("set mount attributes"),
    }
}

fn change_by_remount(mount: BorrowedFd<'_>, options: &Options) -> Result<()> {
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    if options.set | options.clear != 0 {
        let now = rustix::fs::fstatvfs(mount).doing("read mount flags")?.f_flag.bits();
        // The lowest bits of statvfs are those of mount(2): read-only, nosuid, nodev, noexec.
        let kept = (now & 0xf & !options.clear) | (options.set & 0xf);
        let mut flags = MountFlags::BIND | MountFlags::from_bits_retain(kept as u32);
        if options.set & attr::NOATIME != 0 {
            flags |= MountFlags::NOATIME;
        }
        rustix::mount::mount_remount(&path, flags, "").doing("remount with other attributes")?;
    }
    if let Some((kind, recursive)) = options.propagation {
        let mut flags = rustix::mount::MountPropagationFlags::from_bits_retain(kind as u32);
        if recursive {
            flags |= rustix::mount::MountPropagationFlags::REC;
        }
        rustix::mount::mount_change(&path, flags).doing("change mount propagation")?;
    }
    Ok(())
}

/// Makes everything below a mount private or slave, so that nothing done here reaches the host.
pub fn isolate(kind: u64) -> Result<()> {
    let flags = rustix::mount::MountPropagationFlags::from_bits_retain(kind as u32)
        | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).doing("isolate the mount namespace")
}

/// The kernel's numbers for `rootfsPropagation`.
pub fn root_propagation(name: &str) -> Result<u64> {
    match name.strip_prefix('r').unwrap_or(name) {
        "" | "slave" => Ok(propagation::SLAVE),
        "private" => Ok(propagation::PRIVATE),
        "shared" => Ok(propagation::SHARED),
        "unbindable" => Ok(propagation::UNBINDABLE),
        _ => Err(Error::setup(format!("unknown root propagation {name:?}"))),
    }
}

/// A copy of a mount of another container, detached.
fn bind_of(pid: i32, source: &Path) -> Result<OwnedFd> {
    let what = || format!("share {} of process {pid}", source.display());
    let open = |of: &str| std::fs::File::open(format!("/proc/{of}/ns/mnt")).doing(what());
    let (own, other) = (open("self")?, open(&pid.to_string())?);
    process::setns(other.as_fd(), flag::NEWNS).doing(what())?;
    let made = bind(source, false);
    process::setns(own.as_fd(), flag::NEWNS).doing(what())?;
    made.doing(what())
}

/// Opens a path that no link leads out of its directory; whoever shares a volume may change it meanwhile.
pub fn open_beneath(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            Err(Errno::XDEV | Errno::LOOP) => {
                return Err(Error::setup(format!(
                    "path concatenation escapes the base directory, subpath: {path}"
                )));
            }
            other => return other.doing(format_args!("cannot access path {path}")),
        }
    }
}

/// The source of a bind mount, detached, with its ids mapped if they are to be.
pub fn open_source(mount: &Mount, parsed: &Options, ids: Option<&Namespace>) -> Result<OwnedFd> {
    let source = Path::new(&mount.source);
    let what = || format!("bind source {}", source.display());
    let made = match &parsed.subpath {
        None if parsed.mounts_of.is_some() => bind_of(parsed.mounts_of.unwrap_or(0), source)?,
        None => bind(source, parsed.recursive).doing(what())?,
        Some(path) => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, source, flags, Mode::empty()).doing(what())?;
            let found = open_beneath(root.as_fd(), path)?;
            bind_fd(found.as_fd(), parsed.recursive).doing(what())?
        }
    };
    if let Some(ids) = ids {
        let all = parsed.idmap == Some(true);
        ids.map(made.as_fd(), all).map_err(|e| {
            Error::setup(format!(
                "map the ids of {}: {e}: its file system or this kernel has no id-mapped mounts",
                source.display()
            ))
        })?;
    }
    Ok(made)
}
