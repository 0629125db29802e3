//! `cargo xtask vm SUITE`: the story on another kernel with cgroup v2, in an emulated machine.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Boots the kernel of a Debian suite and runs `tests/vm/story.sh` there. What boots it is a program called with
/// the suite, a directory and a script: `WHARF_VM_BOOT`, or `../shared/vm/boot.sh` beside the project. Without
/// one the story is skipped, and said so.
pub(crate) fn run(root: &Path, suite: &str) -> anyhow::Result<()> {
    let boot =
        std::env::var_os("WHARF_VM_BOOT").map_or_else(|| root.join("../shared/vm/boot.sh"), PathBuf::from);
    if !boot.exists() {
        println!("skipped: no {} to boot another kernel with; name one with WHARF_VM_BOOT", boot.display());
        return Ok(());
    }
    let binary = crate::build_release(root)?;
    let share = std::env::temp_dir().join(format!("wharf-vm-{}", std::process::id()));
    std::fs::create_dir_all(&share).with_context(|| format!("make {}", share.display()))?;
    let result = boot_with(root, &boot, suite, &binary, &share);
    std::fs::remove_dir_all(&share).with_context(|| format!("remove {}", share.display()))?;
    result
}

fn boot_with(root: &Path, boot: &Path, suite: &str, binary: &Path, share: &Path) -> anyhow::Result<()> {
    std::fs::copy(binary, share.join("wharf")).context("copy the binary")?;
    std::fs::copy(root.join("tests/vm/story.sh"), share.join("story.sh")).context("copy the story")?;
    crate::busybox::tar(&share.join("busybox.tar"))?;
    let status = Command::new("bash")
        .arg(boot)
        .args([suite.as_ref(), share.as_os_str(), "sh /t/story.sh".as_ref()])
        .status()
        .with_context(|| format!("run {}", boot.display()))?;
    ensure!(status.success(), "the story on {suite} ended with {status}");
    Ok(())
}
