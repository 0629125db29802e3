//! A base image made from the host's static BusyBox.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Debian's package `busybox-static` puts it here.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Writes a root file system as a tar.
pub(crate) fn busybox(target: &Path) {
    let root = tempfile::tempdir().expect("make a directory");
    let at = |name: &str| root.path().join(name);
    for directory in ["bin", "etc", "tmp", "root", "home", "proc", "sys", "dev"] {
        std::fs::create_dir(at(directory)).expect("make a directory");
    }
    std::fs::set_permissions(at("tmp"), std::fs::Permissions::from_mode(0o1777)).expect("open /tmp to all");
    std::fs::copy(BUSYBOX, at("bin/busybox")).expect("copy busybox");
    let applets = Command::new(BUSYBOX).arg("--list").output().expect("list the applets");
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|a| *a != "busybox") {
        symlink("busybox", at("bin").join(applet)).expect("link an applet");
    }
    std::fs::write(at("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n")
        .expect("write");
    std::fs::write(at("etc/group"), "root:x:0:\nweb:x:33:\nstaff:x:50:web\n").expect("write");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .args(["--numeric-owner", "--owner=0", "--group=0", "-cf"])
        .arg(target)
        .arg(".")
        .status();
    assert!(packed.expect("run tar").success());
}
