//! Builds the container's root file system and moves into it.
//!
//! Everything up to [`enter`] happens while the host's tree is still in sight; afterwards nothing of it is
//! reachable.

use super::membership::Entrance;
use super::mounts::{self, Place, attach, open_in, open_place};
use super::stock::Stock;
use super::{Plan, null, options};
use crate::error::{Doing, Error, Result};
use crate::protocol::Rootfs;
use crate::sysctl::Sysctl;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;
use std::sync::OnceLock;
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
        match &self.proc {
            Some(proc) => rustix::fs::openat(proc, path, flags | OFlags::CLOEXEC, Mode::empty()),
            // A container without a proc mount still shares the kernel's: a detached one serves.
            None => {
                let fs = rustix::mount::fsopen("proc", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
                rustix::mount::fsconfig_create(&fs)?;
                let flags_none = rustix::mount::MountAttrFlags::empty();
                let proc =
                    rustix::mount::fsmount(&fs, rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC, flags_none)?;
                rustix::fs::openat(&proc, path, flags | OFlags::CLOEXEC, Mode::empty())
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
    let mut furnished = false;
    for mount in &plan.spec.mounts {
        if mount.kind == "cgroup" {
            entrance.pass()?;
        }
        // The configuration's own devices come first: one may be of the usual, with another mode or owner.
        let ready = if mount.destination == "/dev" && !devices.is_empty() { None } else { stock.take(mount) };
        furnished |= mount.destination == "/dev" && ready.is_some();
        make_mount(plan, &mut built, mount, ready).map_err(|e| Error {
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
    if let Some(process) = &plan.spec.process {
        open_place(built.root.as_fd(), &process.cwd, Place::Directory)
            .doing(format_args!("make the working directory {:?}", process.cwd))?;
    }
    Ok(built)
}

fn mount_root(plan: &Plan<'_>) -> Result<OwnedFd> {
    let mount = match plan.root {
        Rootfs::Bind { path } => {
            mounts::bind(path, true).doing(format_args!("bind the root {}", path.display()))?
        }
        Rootfs::Overlay { lower, upper, work } if *TAKES_LOWERDIR_PLUS.get_or_init(takes_lowerdir_plus) => {
            overlay(lower, upper, work).doing(format_args!("mount the overlay at {}", upper.display()))?
        }
        Rootfs::Overlay { lower, upper, work } => {
            return overlay_legacy(plan.mount_point, lower, upper, work);
        }
    };
    let place = rustix::fs::open(plan.mount_point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing(format_args!("open {}", plan.mount_point.display()))?;
    attach(mount.as_fd(), place.as_fd()).doing("attach the root")?;
    Ok(mount)
}

/// The upper directory is read as a change set by commit and diff: no renames by reference, no metadata without
/// content, whatever the kernel's defaults are.
const OVERLAY_OPTIONS: [(&str, &str); 3] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Asked once for all monitors: kernels that do not know the option say so in their log each time.
static TAKES_LOWERDIR_PLUS: OnceLock<bool> = OnceLock::new();

/// Finds out what this kernel's overlayfs takes, for this process and its children.
pub fn probe() {
    TAKES_LOWERDIR_PLUS.get_or_init(takes_lowerdir_plus);
}

/// Whether overlayfs knows `lowerdir+`. Before 6.5 it takes any word at this point and complains of it at the
/// mount; from then on it refuses what it does not know at once.
fn takes_lowerdir_plus() -> bool {
    use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};
    let Ok(fs) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else { return false };
    fsconfig_set_string(&fs, "no_such_option", "x").is_err()
        && fsconfig_set_string(&fs, "lowerdir+", "/").is_ok()
}

/// With `lowerdir+`, which has no limit on the length of all paths together.
fn overlay(lower: &[std::path::PathBuf], upper: &Path, work: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    };
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", "overlay")?;
    for directory in lower {
        fsconfig_set_string(&fs, "lowerdir+", directory)?;
    }
    for (option, value) in OVERLAY_OPTIONS {
        fsconfig_set_string(&fs, option, value)?;
    }
    fsconfig_set_string(&fs, "upperdir", upper)?;
    fsconfig_set_string(&fs, "workdir", work)?;
    fsconfig_create(&fs)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// With mount(2), whose options fit one page: paths are given relative to their common directory.
fn overlay_legacy(point: &Path, lower: &[std::path::PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd> {
    let base = common_directory(lower.iter().map(std::path::PathBuf::as_path).chain([upper, work]));
    let short = |p: &Path| p.strip_prefix(&base).unwrap_or(p).display().to_string();
    let lower: Vec<String> = lower.iter().map(|p| short(p)).collect();
    let options: String =
        OVERLAY_OPTIONS.iter().map(|(option, value)| format!(",{option}={value}")).collect();
    let data =
        format!("lowerdir={},upperdir={},workdir={}{options}", lower.join(":"), short(upper), short(work));
    let what = "mount the overlay";
    if data.len() >= 4096 {
        return Err(Error::setup(format!(
            "{what}: {} layers are too many for this kernel, 6.5 takes more",
            lower.len()
        )));
    }
    let data = std::ffi::CString::new(data).doing(what)?;
    rustix::process::chdir(&base).doing(what)?;
    rustix::mount::mount(
        "overlay",
        point,
        "overlay",
        rustix::mount::MountFlags::empty(),
        Some(data.as_c_str()),
    )
    .doing(what)?;
    rustix::process::chdir("/").doing(what)?;
    rustix::fs::open(point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(what)
}

fn common_directory<'a>(paths: impl Iterator<Item = &'a Path>) -> std::path::PathBuf {
    let mut common: Option<std::path::PathBuf> = None;
    for path in paths {
        let mut base = common.take().unwrap_or_else(|| path.to_owned());
        while !path.starts_with(&base) {
            base.pop();
        }
        common = Some(base);
    }
    common.unwrap_or_else(|| "/".into())
}

/// `ready` is the mount made ahead, if there was one.
fn make_mount(plan: &Plan<'_>, built: &mut Built, mount: &Mount, ready: Option<OwnedFd>) -> Result<()> {
    let parsed = options::parse(&mount.options);
    if parsed.bind || mount.kind == "bind" {
        return make_bind(built, mount, &parsed);
    }
    let place =
        open_place(built.root.as_fd(), &mount.destination, Place::Directory).doing("open the destination")?;
    match mount.kind.as_str() {
        "cgroup" if !plan.cgroup_view.is_empty() => return cgroup_v1(plan, place, &parsed),
        "cgroup" => {
            let made = mounts::file_system("cgroup2", "cgroup2", &[], parsed.set)?;
            attach(made.as_fd(), place.as_fd()).doing("attach")?;
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
                None => mounts::file_system(kind, source, &parsed.data, first)?,
            };
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

fn make_bind(built: &Built, mount: &Mount, parsed: &options::Options) -> Result<()> {
    let source = Path::new(&mount.source);
    let what = || format!("bind source {}", source.display());
    let place =
        if mounts::source_is_directory(source).doing(what())? { Place::Directory } else { Place::File };
    let made = mounts::bind(source, parsed.recursive).doing(what())?;
    let at = open_place(built.root.as_fd(), &mount.destination, place).doing("open the destination")?;
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(Error::setup("id-mapped mounts are not supported yet"));
    }
    attach(made.as_fd(), at.as_fd()).map_err(|e| match e {
        Errno::NOTDIR => Error::setup(
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
        ),
        e => Error::setup(format!("attach: {e}")),
    })?;
    mounts::change(made.as_fd(), parsed)
}

/// `/sys/fs/cgroup` of version 1: a tmpfs with the container's own directory of every hierarchy.
fn cgroup_v1(plan: &Plan<'_>, place: OwnedFd, parsed: &options::Options) -> Result<()> {
    let data = ["mode=755".to_owned()];
    let base = mounts::file_system("tmpfs", "tmpfs", &data, parsed.set & !attr::RDONLY)?;
    attach(base.as_fd(), place.as_fd()).doing("attach")?;
    for (name, directory) in &plan.cgroup_view {
        rustix::fs::mkdirat(&base, name.as_str(), Mode::from_raw_mode(0o755))
            .doing(format_args!("make {name}"))?;
        let at = rustix::fs::openat(&base, name.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .doing(format_args!("open {name}"))?;
        let made = mounts::bind(directory, false).doing(format_args!("bind {}", directory.display()))?;
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
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(Error::setup(format!("unknown device type {other:?}"))),
    };
    let path = Path::new(&device.path);
    let (Some(parent), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else {
        return Err(Error::setup("not a path of a file"));
    };
    let parent = open_place(built.root.as_fd(), parent, Place::Directory).doing("open the directory")?;
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    let made = rustix::fs::mknodat(
        &parent,
        name,
        kind,
        mode,
        rustix::fs::makedev(number(device.major), number(device.minor)),
    );
    match made {
        Ok(()) => {}
        // A mount may lie there, and then it is the host's device whose owner would change.
        Err(Errno::EXIST) => return Ok(()),
        Err(e) => return Err(Error::setup(e.to_string())),
    }
    let (uid, gid) = (device.uid.unwrap_or(0), device.gid.unwrap_or(0));
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(&parent, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_directories() {
        let paths = ["/a/b/c", "/a/b/d/e", "/a/b"];
        assert_eq!(common_directory(paths.iter().map(Path::new)), Path::new("/a/b"));
        assert_eq!(common_directory(["/a", "/b"].iter().map(Path::new)), Path::new("/"));
    }
}
