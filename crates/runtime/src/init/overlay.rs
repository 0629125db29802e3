//! The overlay a container's root is, from the directories of its layers; plain, or with ids mapped.

use super::images::{Attached, Images, is_image};
use super::mounts;
use super::options::Options;
use crate::error::{Doing, Error, Result};
use crate::userns::Namespace;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The upper directory is read as a change set by commit and diff: no renames by reference, no metadata without
/// content, whatever the kernel's defaults are.
const OPTIONS: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

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

/// The overlay, detached. `point` is a directory that may be mounted on for a moment; `label` is what SELinux knows all
/// its files by, or empty.
pub(super) fn mount(
    point: &Path,
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    images: &Images,
    label: &str,
) -> Result<OwnedFd> {
    let (attached, lower) = Attached::new(point, lower, images, None)?;
    let made = of_directories(point, &lower, upper, label)?;
    attached.release()?;
    Ok(made)
}

fn of_directories(
    point: &Path,
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    label: &str,
) -> Result<OwnedFd> {
    if *TAKES_LOWERDIR_PLUS.get_or_init(takes_lowerdir_plus) {
        let at = upper.map_or(Path::new("layers"), |(upper, _)| upper);
        return modern(lower, upper, label).doing(format_args!("mount the overlay at {}", at.display()));
    }
    let base = common_directory(directories(lower).chain(both(upper)));
    let short = |path: &Path| path.strip_prefix(&base).unwrap_or(path).to_owned();
    let lower: Vec<PathBuf> = lower.iter().map(|p| short(p)).collect();
    rustix::process::chdir(&base).doing("mount the overlay")?;
    let upper = upper.map(|(upper, work)| (short(upper), short(work)));
    let upper = upper.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
    let made = legacy(point, &lower, upper, label);
    rustix::process::chdir("/").doing("mount the overlay")?;
    made
}

/// The same with ids mapped as by a user namespace: what root owns on the disk, the namespace's root owns. Layers cannot
/// be mapped by the overlay's own mount, so all of them are looked at through one mapped mount (overlayfs on mapped
/// layers: Linux 5.19). Called in a mount namespace of our own.
pub(crate) fn mount_mapped(
    point: &Path,
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    images: &Images,
    namespace: &Namespace,
    label: &str,
) -> Result<OwnedFd> {
    let (attached, lower) = Attached::new(point, lower, images, Some(namespace))?;
    let made = of_mapped_directories(point, &lower, upper, namespace, label)?;
    attached.release()?;
    Ok(made)
}

fn of_mapped_directories(
    point: &Path,
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    namespace: &Namespace,
    label: &str,
) -> Result<OwnedFd> {
    let what = "mount the overlay with ids mapped";
    let make = |lower: &[PathBuf], upper: Option<(&Path, &Path)>| {
        namespace.as_its_root_on_files(|| {
            if *TAKES_LOWERDIR_PLUS.get_or_init(takes_lowerdir_plus) {
                modern(lower, upper, label).doing(what)
            } else {
                legacy(point, lower, upper, label)
            }
        })
    };
    if directories(lower).chain(both(upper)).next().is_none() {
        // Images alone: each is mapped already.
        return make(lower, None)?;
    }
    let base = common_directory(directories(lower).chain(both(upper)));
    let short = |path: &Path| path.strip_prefix(&base).unwrap_or(path).to_owned();
    let mapped = mounts::bind(&base, false).doing(what)?;
    namespace.map(mapped.as_fd(), false).map_err(|e| unmappable(&base, &e))?;
    let place = rustix::fs::open(point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(what)?;
    mounts::attach(mapped.as_fd(), place.as_fd()).doing(what)?;
    rustix::process::fchdir(&mapped).doing(what)?;
    let lower: Vec<PathBuf> = lower.iter().map(|p| short(p)).collect();
    let upper = upper.map(|(upper, work)| (short(upper), short(work)));
    let upper = upper.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path()));
    let made = make(&lower, upper)?;
    rustix::process::chdir("/").doing(what)?;
    rustix::mount::unmount(point, UnmountFlags::DETACH).doing(what)?;
    made
}

pub(super) fn unmappable(base: &Path, error: &std::io::Error) -> Error {
    Error::setup(format!(
        "map the ids of {}: {error}: the kernel or its file system has no id-mapped mounts, which a container in a user \
         namespace needs: run it with --userns host, or the engine without --userns-remap",
        base.display()
    ))
}

/// With `lowerdir+`, which has no limit on the length of all paths together.
fn modern(lower: &[PathBuf], upper: Option<(&Path, &Path)>, label: &str) -> rustix::io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    };
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", "overlay")?;
    for directory in lower {
        fsconfig_set_string(&fs, "lowerdir+", directory)?;
    }
    for (option, value) in OPTIONS {
        fsconfig_set_string(&fs, option, value)?;
    }
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&fs, "upperdir", upper)?;
        fsconfig_set_string(&fs, "workdir", work)?;
    }
    if !label.is_empty() {
        fsconfig_set_string(&fs, "context", label)?;
    }
    fsconfig_create(&fs)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// With mount(2), whose options fit one page: paths are given relative to the working directory.
fn legacy(point: &Path, lower: &[PathBuf], upper: Option<(&Path, &Path)>, label: &str) -> Result<OwnedFd> {
    let lower: Vec<String> = lower.iter().map(|p| p.display().to_string()).collect();
    let options: String = OPTIONS.iter().map(|(option, value)| format!(",{option}={value}")).collect();
    let writable =
        upper.map(|(upper, work)| format!(",upperdir={},workdir={}", upper.display(), work.display()));
    // In quotes: it may have commas.
    let context = if label.is_empty() { String::new() } else { format!(",context=\"{label}\"") };
    let data = format!("lowerdir={}{}{options}{context}", lower.join(":"), writable.unwrap_or_default());
    let what = "mount the overlay";
    if data.len() >= 4096 {
        return Err(Error::setup(format!(
            "{what}: {} layers are too many for this kernel, 6.5 takes more",
            lower.len()
        )));
    }
    let data = std::ffi::CString::new(data).doing(what)?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", point, "overlay", flags, Some(data.as_c_str())).doing(what)?;
    let made = mounts::bind(point, false).doing(what)?;
    rustix::mount::unmount(point, UnmountFlags::DETACH).doing(what)?;
    Ok(made)
}

/// Paths that are no descriptors.
fn directories(lower: &[PathBuf]) -> impl Iterator<Item = &Path> {
    lower.iter().map(PathBuf::as_path).filter(|path| !path.starts_with("/proc/self/fd"))
}

fn both<'a>(upper: Option<(&'a Path, &'a Path)>) -> impl Iterator<Item = &'a Path> {
    upper.into_iter().flat_map(|(upper, work)| [upper, work])
}

/// The files of an image, or a part of them, detached; never to be written to. `point` as for [`mount`].
pub(crate) fn image(
    point: &Path,
    parsed: &Options,
    images: &Images,
    namespace: Option<&Namespace>,
    label: &str,
) -> Result<OwnedFd> {
    let what = "mount an image";
    let made = match (parsed.layers.as_slice(), namespace) {
        // An overlay wants two layers at least. A mount that others share gets no label of its own.
        ([layer], _) => {
            let made = match is_image(layer) {
                true => images.mount(layer)?,
                false => mounts::bind(layer, false).doing(what)?,
            };
            if let Some(namespace) = namespace {
                namespace.map(made.as_fd(), false).map_err(|e| unmappable(layer, &e))?;
            }
            made
        }
        (layers, Some(namespace)) => mount_mapped(point, layers, None, images, namespace, label)?,
        (layers, None) => mount(point, layers, None, images, label)?,
    };
    let Some(subpath) = &parsed.subpath else { return Ok(made) };
    // A part can only be taken of what is attached.
    let place = rustix::fs::open(point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(what)?;
    mounts::attach(made.as_fd(), place.as_fd()).doing(what)?;
    let part = mounts::open_beneath(made.as_fd(), subpath)
        .and_then(|found| mounts::bind_fd(found.as_fd(), false).doing(what));
    rustix::mount::unmount(point, UnmountFlags::DETACH).doing(what)?;
    part
}

fn common_directory<'a>(paths: impl Iterator<Item = &'a Path>) -> PathBuf {
    let mut common: Option<PathBuf> = None;
    for path in paths {
        let mut base = common.take().unwrap_or_else(|| path.to_owned());
        while !path.starts_with(&base) {
            base.pop();
        }
        common = Some(base);
    }
    common.unwrap_or_else(|| "/".into())
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
