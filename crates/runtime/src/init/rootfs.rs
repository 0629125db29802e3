//! Builds the container's root file system and moves into it.
//!
//! Everything up to [`enter`] happens while the host's tree is still in sight; afterwards nothing of it is
//! reachable.

use super::membership::Entrance;
use super::mounts::{self, Place, attach, open_in, open_place};
use super::stock::Stock;
use super::{Plan, guard, labels, null, options, overlay};
use crate::error::{Doing, Error, Result};
use crate::protocol::Rootfs;
use crate::sysctl::Sysctl;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;
use wharf_oci::runtime_spec::{Device, Linux, Mount};
use wharf_sys::mount::attr;

/// A root under construction.
pub struct Built {
    /// The root directory.
    pub root: OwnedFd,
    /// The container's own procfs, for files that nothing in the image can replace.
    proc: Option<OwnedFd>,
    /// The container's devpts.
    pub devpts: Option<OwnedFd>,
    /// The tmpfs made for the container's `/dev`.
    dev: Option<OwnedFd>,
}

impl Built {
    /// Opens a file of the container's procfs; links are not followed.
    pub fn open_proc(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.on_proc(|proc| rustix::fs::openat(proc, path, flags | OFlags::CLOEXEC, Mode::empty()))
    }

    /// Opens an attribute of this thread for security modules, on the container's procfs itself.
    pub fn open_attribute(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.on_proc(|proc| labels::open(proc, path))
    }

    fn on_proc<T>(
        &self,
        open: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        match &self.proc {
            Some(proc) => open(proc.as_fd()),
            // A container without a proc mount still shares the kernel's: a detached one serves.
            None => {
                let fs = rustix::mount::fsopen("proc", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
                rustix::mount::fsconfig_create(&fs)?;
                let flags_none = rustix::mount::MountAttrFlags::empty();
                let proc =
                    rustix::mount::fsmount(&fs, rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC, flags_none)?;
                open(proc.as_fd())
            }
        }
    }
}

/// Mounts the root and everything in it, and joins the cgroup at the latest when its files are to be seen.
pub(super) fn build(plan: &Plan<'_>, mut stock: Stock, entrance: &mut Entrance<'_>) -> Result<Built> {
    let linux = plan.spec.linux.as_ref();
    mounts::isolate(mounts::root_propagation(linux.map_or("", |l| &l.rootfs_propagation))?.min(1 << 19))?;
    let root = mount_root(plan)?;
    let mut built = Built { root, proc: None, devpts: None, dev: None };
    let devices = linux.map(|l| l.devices.as_slice()).unwrap_or_default();
    let mut furnished = plan.prepared.is_some();
    for (index, mount) in plan.spec.mounts.iter().enumerate() {
        if mount.kind == "cgroup" {
            entrance.pass()?;
        }
        // The configuration's own devices come first: one may be of the usual, with another mode or owner.
        let ready = match &plan.prepared {
            Some(prepared) => {
                prepared.mounts.get(&index).map(|fd| fd.try_clone()).transpose().doing("take a mount")?
            }
            None if mount.destination == "/dev" && !devices.is_empty() => None,
            // What was made ahead has no label.
            None if !plan.mount_label().is_empty() => None,
            None => stock.take(mount),
        };
        furnished |= mount.destination == "/dev" && ready.is_some();
        make_mount(plan, &mut built, index, ready).map_err(|e| Error {
            message: format!(
                "error mounting {:?} to rootfs at {:?}: {}",
                mount.source, mount.destination, e.message
            ),
            ..e
        })?;
    }
    entrance.pass()?;
    if !furnished
        && plan.spec.mounts.iter().any(|m| m.destination == "/dev" && !options::parse(&m.options).bind)
    {
        make_devices(&built, devices)?;
    }
    if let Some(prepared) = &plan.prepared {
        attach_devices(&built, devices, &prepared.devices)?;
    }
    if let Some(process) = &plan.spec.process {
        let what = || format!("make the working directory {:?}", process.cwd);
        let place = open_place(built.root.as_fd(), &process.cwd, Place::Directory).doing(what())?;
        if !mounts::is_directory(place.as_fd()).doing(what())? {
            return Err(Error::setup(format!("Cannot mkdir: {} is not a directory", process.cwd)));
        }
    }
    Ok(built)
}

fn mount_root(plan: &Plan<'_>) -> Result<OwnedFd> {
    let made = match (&plan.prepared, plan.root) {
        (Some(prepared), _) => {
            let root = prepared.root.try_clone().doing("take the root")?;
            // The directory the process was left in: its path may be closed to the namespace's root.
            attach(root.as_fd(), CWD).doing("attach the root")?;
            return Ok(root);
        }
        (None, Rootfs::Bind { path }) => {
            mounts::bind(path, true).doing(format_args!("bind the root {}", path.display()))?
        }
        (None, Rootfs::Overlay { lower, upper, work }) => {
            let paths = Some((upper.as_path(), work.as_path()));
            overlay::mount(plan.mount_point, lower, paths, &plan.images, plan.mount_label())?
        }
    };
    let place = rustix::fs::open(plan.mount_point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing(format_args!("open {}", plan.mount_point.display()))?;
    attach(made.as_fd(), place.as_fd()).doing("attach the root")?;
    Ok(made)
}

/// `ready` is the mount made ahead, if there was one.
fn make_mount(plan: &Plan<'_>, built: &mut Built, index: usize, ready: Option<OwnedFd>) -> Result<()> {
    let mount = &plan.spec.mounts[index];
    let parsed = options::parse(&mount.options);
    if parsed.bind || mount.kind == "bind" {
        let made = match ready {
            Some(made) => made,
            None => mounts::open_source(mount, &parsed, plan.idmaps.get(&index))?,
        };
        return attach_bind(built, mount, &parsed, &made);
    }
    if !parsed.layers.is_empty() {
        let made = match ready {
            Some(made) => made,
            None => overlay::image(plan.mount_point, &parsed, &plan.images, None, plan.mount_label())?,
        };
        return attach_bind(built, mount, &parsed, &made);
    }
    let place = match mount.kind.as_str() {
        kind @ ("proc" | "sysfs") => guard::ordinary_directory(built.root.as_fd(), kind, &mount.destination)?,
        _ => open_place(built.root.as_fd(), &mount.destination, Place::Directory)
            .doing("open the destination")?,
    };
    match mount.kind.as_str() {
        "cgroup" if !plan.cgroup_view.is_empty() => return cgroup_v1(plan, place, &parsed),
        "cgroup" => {
            let made = match ready {
                Some(made) => made,
                None => mounts::file_system("cgroup2", "cgroup2", &[], parsed.set)?,
            };
            attach(made.as_fd(), place.as_fd()).doing("attach")?;
            mounts::change(made.as_fd(), &options::Options { set: parsed.set, ..Default::default() })?;
        }
        kind => {
            let source = if mount.source.is_empty() { kind } else { &mount.source };
            let copied = if parsed.copy_up {
                Some(
                    open_in(built.root.as_fd(), &mount.destination, OFlags::DIRECTORY | OFlags::RDONLY)
                        .doing("open the destination")?,
                )
            } else {
                None
            };
            let first = if copied.is_some() { parsed.set & !attr::RDONLY } else { parsed.set };
            let made = match ready {
                Some(made) => made,
                None => {
                    let data = labels::of_mount(kind, &parsed.data, plan.mount_label());
                    mounts::file_system(kind, source, &data, first)?
                }
            };
            if kind == "mqueue" && !plan.mount_label().is_empty() {
                labels::of_root(made.as_fd(), plan.mount_label())?;
            }
            guard::check(built.root.as_fd(), place.as_fd(), made.as_fd(), &mount.destination)?;
            attach(made.as_fd(), place.as_fd()).doing("attach")?;
            if let Some(from) = copied {
                super::copy_up::copy(&from, &made)?;
                mounts::change(made.as_fd(), &parsed)?;
            } else if parsed.propagation.is_some() {
                mounts::change(
                    made.as_fd(),
                    &options::Options { propagation: parsed.propagation, ..Default::default() },
                )?;
            }
            match kind {
                "proc" if built.proc.is_none() => built.proc = Some(made),
                "devpts" if built.devpts.is_none() => built.devpts = Some(made),
                "tmpfs" if mount.destination == "/dev" => built.dev = Some(made),
                _ => {}
            }
        }
    }
    Ok(())
}

fn attach_bind(built: &Built, mount: &Mount, parsed: &options::Options, made: &OwnedFd) -> Result<()> {
    let what = || format!("bind source {}", mount.source);
    let is_directory = mounts::is_directory(made.as_fd()).doing(what())?;
    let place = if is_directory { Place::Directory } else { Place::File };
    let at = open_place(built.root.as_fd(), &mount.destination, place).doing("open the destination")?;
    guard::check(built.root.as_fd(), at.as_fd(), made.as_fd(), &mount.destination)?;
    // move_mount(2) only says that this is invalid.
    if mounts::is_directory(at.as_fd()).doing("look at the destination")? != is_directory {
        return Err(Error::setup(
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
        ));
    }
    attach(made.as_fd(), at.as_fd()).doing("attach")?;
    mounts::change(made.as_fd(), parsed)
}

/// Puts device nodes that were made outside in their places.
fn attach_devices(built: &Built, devices: &[Device], nodes: &[OwnedFd]) -> Result<()> {
    for (device, node) in devices.iter().zip(nodes) {
        let what = || format!("make device {}", device.path);
        let at = open_place(built.root.as_fd(), &device.path, Place::File).doing(what())?;
        attach(node.as_fd(), at.as_fd()).doing(what())?;
    }
    Ok(())
}

/// `/sys/fs/cgroup` of version 1: a tmpfs with the container's own directory of every hierarchy.
fn cgroup_v1(plan: &Plan<'_>, place: OwnedFd, parsed: &options::Options) -> Result<()> {
    let data = labels::of_mount("tmpfs", &["mode=755".to_owned()], plan.mount_label());
    let base = mounts::file_system("tmpfs", "tmpfs", &data, parsed.set & !attr::RDONLY)?;
    attach(base.as_fd(), place.as_fd()).doing("attach")?;
    for (index, (name, directory)) in plan.cgroup_view.iter().enumerate() {
        rustix::fs::mkdirat(&base, name.as_str(), Mode::from_raw_mode(0o755))
            .doing(format_args!("make {name}"))?;
        let at = rustix::fs::openat(&base, name.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .doing(format_args!("open {name}"))?;
        let what = || format!("bind {}", directory.display());
        let made = match &plan.prepared {
            Some(prepared) => prepared.cgroups[index].try_clone().doing(what())?,
            None => mounts::bind(directory, false).doing(what())?,
        };
        attach(made.as_fd(), at.as_fd()).doing(format_args!("attach {name}"))?;
        mounts::change(made.as_fd(), &options::Options { set: parsed.set, ..Default::default() })?;
        for alias in name.split(',').filter(|_| name.contains(',')) {
            rustix::fs::symlinkat(name.as_str(), &base, alias).doing(format_args!("link {alias}"))?;
        }
    }
    mounts::change(base.as_fd(), &options::Options { set: parsed.set, ..Default::default() })
}

const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

fn make_devices(built: &Built, extra: &[Device]) -> Result<()> {
    let dev = open_in(built.root.as_fd(), "/dev", OFlags::PATH | OFlags::DIRECTORY).doing("open /dev")?;
    let old = rustix::process::umask(Mode::empty());
    for device in extra {
        make_device(built, device)
            .map_err(|e| Error::setup(format!("make device {}: {}", device.path, e.message)))?;
    }
    rustix::process::umask(old);
    furnish_devices(dev.as_fd())
}

/// Makes what every `/dev` has, where it is not there yet.
pub fn furnish_devices(dev: BorrowedFd<'_>) -> Result<()> {
    let old = rustix::process::umask(Mode::empty());
    for (name, major, minor) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        match rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, device) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::setup(format!("make /dev/{name}: {e}"))),
        }
    }
    for (target, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
        ("/proc/kcore", "core"),
    ] {
        match rustix::fs::symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::setup(format!("link /dev/{name}: {e}"))),
        }
    }
    rustix::process::umask(old);
    Ok(())
}

fn make_device(built: &Built, device: &Device) -> Result<()> {
    let path = Path::new(&device.path);
    let (Some(parent), Some(name)) =
        (path.parent().and_then(Path::to_str), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(Error::setup("not a path of a file"));
    };
    let parent = open_place(built.root.as_fd(), parent, Place::Directory).doing("open the directory")?;
    make_node(parent.as_fd(), name, device, (device.uid.unwrap_or(0), device.gid.unwrap_or(0)))
}

/// Makes a device node with its owner.
pub fn make_node(parent: BorrowedFd<'_>, name: &str, device: &Device, owner: (u32, u32)) -> Result<()> {
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(Error::setup(format!("unknown device type {other:?}"))),
    };
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    let numbers = rustix::fs::makedev(number(device.major), number(device.minor));
    match rustix::fs::mknodat(parent, name, kind, mode, numbers) {
        Ok(()) => {}
        // A mount may lie there, and then it is the host's device whose owner would change.
        Err(Errno::EXIST) => return Ok(()),
        Err(e) => return Err(Error::setup(e.to_string())),
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .doing("set the owner")
}

/// Makes the built root the root of this process and lets go of the host's tree.
pub fn enter(plan: &Plan<'_>, built: Built) -> Result<()> {
    let what = "pivot into the root";
    rustix::process::fchdir(&built.root).doing(what)?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => {
            // The old root now lies over the new one at the same place.
            let slave =
                rustix::mount::MountPropagationFlags::REC | rustix::mount::MountPropagationFlags::DOWNSTREAM;
            rustix::mount::mount_change(".", slave).doing(what)?;
            rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
                .doing("let go of the host's root")?;
        }
        Err(Errno::INVAL) => cover_root(&built)?,
        Err(e) => return Err(Error::setup(format!("{what}: {e}"))),
    }
    rustix::process::chdir("/").doing(what)?;
    let propagation = plan.spec.linux.as_ref().map_or("", |l| l.rootfs_propagation.as_str());
    if !propagation.is_empty() {
        let kind = mounts::root_propagation(propagation)?;
        let options = options::Options {
            propagation: Some((kind, propagation.starts_with('r'))),
            ..Default::default()
        };
        mounts::change(built.root.as_fd(), &options)?;
    }
    if plan.spec.root.as_ref().is_some_and(|r| r.readonly) {
        let options = options::Options { set: attr::RDONLY, ..Default::default() };
        mounts::change(built.root.as_fd(), &options).doing("make the root read-only")?;
    }
    Ok(())
}

/// The kernel never pivots away from an initial ramdisk. There the new root is moved over the old one, every
/// other mount of the host is let go of, and the process changes its root. What stays below is the ramdisk's own
/// content, nothing that was mounted.
fn cover_root(built: &Built) -> Result<()> {
    use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
    let what = "move the root over the host's";
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").doing(what)?;
    move_mount(&built.root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).doing(what)?;
    // Paths still begin at the old root. Later mounts lie on earlier ones, so they go first.
    for line in mounts.lines().rev() {
        let Some(point) = line.split(' ').nth(4).filter(|p| *p != "/") else { continue };
        match unmount(point, UnmountFlags::DETACH) {
            // Below one that is gone already, or one of the container's own.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => return Err(Error::setup(format!("let go of the host's mount {point}: {e}"))),
        }
    }
    rustix::process::fchdir(&built.root).doing(what)?;
    rustix::process::chroot(".").doing(what)
}

/// Writes kernel parameters through the container's own procfs.
pub fn write_sysctls(built: &Built, sysctls: &[Sysctl]) -> Result<()> {
    for Sysctl { name, file, value } in sysctls {
        let fd = built.open_proc(file, OFlags::WRONLY).doing(format_args!("open sysctl {name}"))?;
        rustix::io::write(&fd, value.as_bytes()).doing(format_args!("write {value:?} to sysctl {name}"))?;
    }
    Ok(())
}

/// Makes paths read-only and masks others.
pub fn restrict(built: &Built, linux: &Linux) -> Result<()> {
    for path in &linux.readonly_paths {
        let what = || format!("make {path} read-only");
        let Some(at) = existing(built, path).doing(what())? else { continue };
        let made = mounts::bind_fd(at.as_fd(), true).doing(what())?;
        attach(made.as_fd(), at.as_fd()).doing(what())?;
        let options = options::Options { set: attr::RDONLY, ..Default::default() };
        mounts::change(made.as_fd(), &options).doing(what())?;
    }
    for path in &linux.masked_paths {
        let what = || format!("mask {path}");
        let Some(at) = existing(built, path).doing(what())? else { continue };
        if mounts::is_directory(at.as_fd()).doing(what())? {
            let data = ["size=0".to_owned(), "nr_inodes=2".to_owned()];
            let data = labels::of_mount("tmpfs", &data, &linux.mount_label);
            let made = mounts::file_system("tmpfs", "tmpfs", &data, attr::RDONLY)?;
            attach(made.as_fd(), at.as_fd()).doing(what())?;
        } else {
            let null = null::for_mask(built.dev.as_ref().map(AsFd::as_fd))?;
            let made = mounts::bind_fd(null.as_fd(), false).doing(what())?;
            attach(made.as_fd(), at.as_fd()).doing(what())?;
            let read_only = options::Options { set: attr::RDONLY, ..Default::default() };
            mounts::change(made.as_fd(), &read_only).doing(what())?;
        }
    }
    Ok(())
}

fn existing(built: &Built, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match open_in(built.root.as_fd(), path, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        other => other.map(Some),
    }
}

/// Opens a path on the host for binding, following links.
pub fn open_host(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
