//! A whole tree for a moment: a detached overlay that only this process sees and that goes with its
//! descriptor, whatever happens (fsopen(2), fsmount(2)).

use super::inside;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount as sys;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use wharf_model::snapshots::RootMount;
use wharf_sys::erofs::{Backing, Mounts};

/// The overlay's options that are no paths: layers are plain trees, so that a diff is what the upper holds.
const OPTIONS: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// What trees are mounted with.
pub(crate) struct Means<'a> {
    /// A directory for mounts that are attached for a moment.
    pub(crate) scratch: &'a Path,
    /// Where images are mounted.
    pub(crate) mounts: &'a Mounts,
}

/// Opens the root directory of a merged tree.
pub(crate) fn open(mount: &RootMount, means: &Means<'_>) -> io::Result<OwnedFd> {
    match mount {
        RootMount::Bind { path } => Ok(inside::open_root(path)?),
        RootMount::Overlay { lower, upper, work } => overlay(lower, Some((upper, work)), means),
    }
}

/// Opens the root directory of a stack of layers, read-only.
pub(crate) fn view(lower: &[PathBuf], means: &Means<'_>) -> io::Result<OwnedFd> {
    overlay(lower, None, means)
}

/// Opens the root directory of a layer, or of an image of several.
pub(crate) fn piece(path: &Path, mounts: &Mounts) -> io::Result<OwnedFd> {
    match Backing::of(path) {
        Some(_) => Ok(root_of(&*mounts.get(path)?)?),
        None => Ok(inside::open_root(path)?),
    }
}

fn overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>, means: &Means<'_>) -> io::Result<OwnedFd> {
    let mut images = Vec::new();
    let mut paths = Vec::new();
    for path in lower {
        match Backing::of(path) {
            None => paths.push(path.clone()),
            Some(_) => {
                let mount = means.mounts.get(path)?;
                paths.push(Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string()));
                images.push(mount);
            }
        }
    }
    if !images.is_empty() && MUST_ATTACH.load(Ordering::Relaxed) {
        return attached(lower, upper, means.scratch);
    }
    match detached(&paths, upper) {
        // Before 6.8 the kernel takes lower directories only as one text, of at most 255 bytes; before 6.15 it takes none
        // that are not attached, and says so in its log.
        Err(Errno::INVAL) => {
            let made = attached(lower, upper, means.scratch);
            MUST_ATTACH.fetch_or(made.is_ok() && !images.is_empty(), Ordering::Relaxed);
            made
        }
        result => Ok(root_of(&result?)?),
    }
}

/// Found out once: the kernel does not lay an overlay over images that are not attached.
static MUST_ATTACH: AtomicBool = AtomicBool::new(false);

fn detached(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, Errno> {
    let fs = sys::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Before 6.5 overlayfs takes any word here, and complains of those it does not know in the kernel's log.
    if sys::fsconfig_set_string(&fs, "no_such_option", "x").is_ok() {
        return Err(Errno::INVAL);
    }
    for path in lower {
        sys::fsconfig_set_string(&fs, "lowerdir+", path.as_path())?;
    }
    if let Some((upper, work)) = upper {
        sys::fsconfig_set_string(&fs, "upperdir", upper)?;
        sys::fsconfig_set_string(&fs, "workdir", work)?;
    }
    for (key, value) in OPTIONS {
        sys::fsconfig_set_string(&fs, key, value)?;
    }
    sys::fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    sys::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Mounts on directories, takes a detached copy and unmounts. A crash in between leaves mounts that the next
/// start removes.
fn attached(lower: &[PathBuf], upper: Option<(&Path, &Path)>, scratch: &Path) -> io::Result<OwnedFd> {
    let mut points = Vec::new();
    let made =
        attach_images(lower, scratch, &mut points).and_then(|lower| attach_overlay(&lower, upper, scratch));
    for point in points {
        release(&point)?;
    }
    made
}

/// Puts a mount point in the place of each image.
fn attach_images(lower: &[PathBuf], scratch: &Path, points: &mut Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in lower {
        if Backing::of(path).is_none() {
            paths.push(path.clone());
            continue;
        }
        let image = wharf_sys::erofs::mount(path, "")?;
        let point = tempdir_in(scratch)?;
        points.push(point.clone());
        sys::move_mount(&image, "", CWD, &point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        paths.push(point);
    }
    Ok(paths)
}

fn release(point: &Path) -> io::Result<()> {
    match sys::unmount(point, UnmountFlags::DETACH) {
        // It was not mounted yet.
        Ok(()) | Err(Errno::INVAL) => std::fs::remove_dir(point),
        Err(e) => Err(e.into()),
    }
}

fn attach_overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>, scratch: &Path) -> io::Result<OwnedFd> {
    let mut data = b"lowerdir=".to_vec();
    for (at, path) in lower.iter().enumerate() {
        if at > 0 {
            data.push(b':');
        }
        escape(path, &mut data);
    }
    if let Some((upper, work)) = upper {
        data.extend_from_slice(b",upperdir=");
        escape(upper, &mut data);
        data.extend_from_slice(b",workdir=");
        escape(work, &mut data);
    }
    for (key, value) in OPTIONS {
        data.extend_from_slice(format!(",{key}={value}").as_bytes());
    }
    let data = CString::new(data).map_err(io::Error::other)?;
    let point = tempdir_in(scratch)?;
    let result = (|| {
        sys::mount("overlay", &point, "overlay", MountFlags::NOSUID | MountFlags::NODEV, data.as_c_str())?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = sys::open_tree(CWD, &point, flags);
        sys::unmount(&point, UnmountFlags::DETACH)?;
        root_of(&tree?)
    })();
    std::fs::remove_dir(&point)?;
    Ok(result?)
}

fn tempdir_in(scratch: &Path) -> io::Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = scratch.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// A directory that can be read, instead of one that is only named.
pub(crate) fn root_of(tree: &OwnedFd) -> Result<OwnedFd, Errno> {
    // The new descriptor keeps the mount.
    rustix::fs::openat(tree, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn escape(path: &Path, out: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
}

/// Unmounts what [`attached`] left when it was killed.
pub(crate) fn recover(scratch: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(scratch) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        release(&entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_show_the_same() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a:,b", "low", "up", "work", "up2", "work2"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("a:,b").join("top"), "1").unwrap();
        std::fs::write(at("low").join("bottom"), "2").unwrap();
        let lower = [at("a:,b"), at("low")];
        let scratch = at("scratch");
        let ways = [
            root_of(&detached(&lower, Some((&at("up"), &at("work")))).unwrap()).unwrap(),
            attached(&lower, Some((&at("up2"), &at("work2"))), &scratch).unwrap(),
            overlay(&lower, None, &Means { scratch: &scratch, mounts: &Mounts::default() }).unwrap(),
        ];
        for way in ways {
            assert_eq!(inside::names(&way).unwrap(), [b"bottom".to_vec(), b"top".to_vec()]);
        }
        assert!(
            !std::fs::read_to_string("/proc/self/mounts").unwrap().contains(dir.path().to_str().unwrap())
        );
        recover(&scratch).unwrap();
    }
}
