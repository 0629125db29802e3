//! A base image from the host's static BusyBox, for benchmarks and other kernels.

use anyhow::{Context, ensure};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Debian's package `busybox-static` puts it here.
const BUSYBOX: &str = "/bin/busybox";

/// Writes a root file system of BusyBox with all its applets as a tar.
pub(crate) fn tar(target: &Path) -> anyhow::Result<()> {
    let root = target.with_extension("root");
    std::fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
    let made = fill(&root).and_then(|()| {
        let status = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args(["--numeric-owner", "--owner=0", "--group=0", "-cf"])
            .arg(target)
            .arg(".")
            .status();
        ensure!(status.context("run tar")?.success(), "tar failed");
        Ok(())
    });
    std::fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    made
}

fn fill(root: &Path) -> anyhow::Result<()> {
    ensure!(Path::new(BUSYBOX).exists(), "{BUSYBOX} is not there: install busybox-static");
    for directory in ["bin", "etc", "tmp", "root", "proc", "sys", "dev"] {
        std::fs::create_dir_all(root.join(directory)).with_context(|| format!("make {directory}"))?;
    }
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777))
        .context("open /tmp to all")?;
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).context("copy busybox")?;
    let applets = Command::new(BUSYBOX).arg("--list").output().context("list the applets")?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|a| *a != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).with_context(|| format!("link {applet}"))?;
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    )?;
    std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    Ok(())
}
