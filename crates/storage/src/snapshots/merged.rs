//! A whole tree for a moment: a detached overlay that only this process sees and that goes with its
//! descriptor, whatever happens (fsopen(2), fsmount(2)).

use super::inside;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount as sys;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wharf_model::snapshots::RootMount;

/// The overlay's options that are no paths: layers are plain trees, so that a diff is what the upper holds.
const OPTIONS: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Opens the root directory of a merged tree.
pub(crate) fn open(mount: &RootMount, scratch: &Path) -> io::Result<OwnedFd> {
    match mount {
        RootMount::Bind { path } => Ok(inside::open_root(path)?),
        RootMount::Overlay { lower, upper, work } => overlay(lower, Some((upper, work)), scratch),
    }
}

/// Opens the root directory of a stack of layers, read-only.
pub(crate) fn view(lower: &[std::path::PathBuf], scratch: &Path) -> io::Result<OwnedFd> {
    overlay(lower, None, scratch)
}

fn overlay(
    lower: &[std::path::PathBuf],
    upper: Option<(&Path, &Path)>,
    scratch: &Path,
) -> io::Result<OwnedFd> {
    match detached(lower, upper) {
        // Before 6.8 the kernel takes lower directories only as one text, of at most 255 bytes.
        Err(Errno::INVAL) => attached(lower, upper, scratch),
        result => Ok(root_of(&result?)?),
    }
}

fn detached(lower: &[std::path::PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, Errno> {
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

/// Mounts on a directory, takes a detached copy and unmounts. A crash in between leaves a mount that the next
/// start removes.
fn attached(
    lower: &[std::path::PathBuf],
    upper: Option<(&Path, &Path)>,
    scratch: &Path,
) -> io::Result<OwnedFd> {
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

fn tempdir_in(scratch: &Path) -> io::Result<std::path::PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = scratch.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// A directory that can be read, instead of one that is only named.
fn root_of(tree: &OwnedFd) -> Result<OwnedFd, Errno> {
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
        let path = entry?.path();
        match sys::unmount(&path, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
        std::fs::remove_dir(&path)?;
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
            overlay(&lower, None, &scratch).unwrap(),
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
