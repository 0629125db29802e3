//! `cargo xtask vm SUITE`: the story on another kernel with cgroup v2, in an emulated machine.

mod modules;
mod policy;

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Boots the kernel of a Debian suite and runs `tests/vm/story.sh` there. What boots it is a program called with
/// the suite, a directory and a script: `WHARF_VM_BOOT`, or `../shared/vm/boot.sh` beside the project. Without
/// one the story is skipped, and said so.
pub(crate) fn run(root: &Path, suite: &str) -> anyhow::Result<()> {
    with_machine(root, suite, |machine| {
        modules::parser(&machine.share)?;
        machine.boot("sh /t/story.sh && sh /t/apparmor.sh", "")
    })
}

/// The same with a kernel that has SELinux, and `tests/vm/selinux.sh`. The program that boots it finds what to add to the
/// kernel's command line in `APPEND`; under one that does not look there the test says that it is skipped.
pub(crate) fn selinux(root: &Path, suite: &str) -> anyhow::Result<()> {
    with_machine(root, suite, |machine| {
        modules::policy(&machine.share)?;
        machine.boot("sh /t/selinux.sh", "selinux=1 security=selinux")
    })
}

struct Machine<'a> {
    boot: PathBuf,
    suite: &'a str,
    /// What the machine has in `/t`.
    share: PathBuf,
}

fn with_machine(
    root: &Path,
    suite: &str,
    work: impl FnOnce(&Machine<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let boot =
        std::env::var_os("WHARF_VM_BOOT").map_or_else(|| root.join("../shared/vm/boot.sh"), PathBuf::from);
    if !boot.exists() {
        println!("skipped: no {} to boot another kernel with; name one with WHARF_VM_BOOT", boot.display());
        return Ok(());
    }
    let binary = crate::build_release(root)?;
    let share = std::env::temp_dir().join(format!("wharf-vm-{}", std::process::id()));
    std::fs::create_dir_all(&share).with_context(|| format!("make {}", share.display()))?;
    let machine = Machine { boot, suite, share };
    let result = machine.furnish(root, &binary).and_then(|()| work(&machine));
    let share = &machine.share;
    std::fs::remove_dir_all(share).with_context(|| format!("remove {}", share.display()))?;
    result
}

impl Machine<'_> {
    fn furnish(&self, root: &Path, binary: &Path) -> anyhow::Result<()> {
        std::fs::copy(binary, self.share.join("wharf")).context("copy the binary")?;
        for script in ["story.sh", "apparmor.sh", "selinux.sh"] {
            let from = root.join("tests/vm").join(script);
            std::fs::copy(from, self.share.join(script)).with_context(|| format!("copy {script}"))?;
        }
        crate::busybox::tar(&self.share.join("busybox.tar"))
    }

    fn boot(&self, script: &str, append: &str) -> anyhow::Result<()> {
        let status = Command::new("bash")
            .arg(&self.boot)
            .args([self.suite.as_ref(), self.share.as_os_str(), script.as_ref()])
            .env("APPEND", append)
            .status()
            .with_context(|| format!("run {}", self.boot.display()))?;
        ensure!(status.success(), "the story on {} ended with {status}", self.suite);
        Ok(())
    }
}
