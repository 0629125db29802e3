//! File systems that a test makes for the data root of its engine.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a data root lies on.
#[derive(Debug)]
pub enum Disk<'a> {
    /// A tmpfs with these options (tmpfs(5)).
    Memory(&'a str),
    /// A file that a program, such as `mkfs.xfs`, makes a file system in.
    Image {
        /// The program.
        make: &'a Path,
        /// Bytes.
        size: u64,
    },
}

impl Disk<'_> {
    /// Mounts it on a directory, which is made.
    pub(crate) fn mount(&self, at: &Path) -> Mounted {
        std::fs::create_dir_all(at).expect("make the data root");
        match self {
            Self::Memory(options) => {
                use rustix::mount::{MountFlags, mount};
                let options = CString::new(*options).expect("options without a zero");
                mount("tmpfs", at, "tmpfs", MountFlags::empty(), options.as_c_str()).expect("mount a tmpfs");
            }
            Self::Image { make, size } => {
                let image = at.with_extension("img");
                std::fs::File::create(&image).and_then(|f| f.set_len(*size)).expect("make a file");
                let quiet = |command: &mut Command| command.output().expect("run a program");
                let made = quiet(Command::new(make).arg(&image));
                assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
                // The loop device goes with the mount.
                let mounted = quiet(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at));
                assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
            }
        }
        Mounted(at.to_owned())
    }
}

/// Unmounts it at the end.
pub(crate) struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // What cannot be unmounted is seen by the check that nothing is left.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A program of this name in the path or where systems have those of the administrator.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|d| d.join(name)).find(|p| p.is_file())
}
