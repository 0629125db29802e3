//! What policies of security modules are compiled with: from this machine, else from Debian's packages, never installed.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Brings `apparmor_parser` along with what it is loaded by. Where it cannot be had that is said, and the test says so again.
pub(crate) fn parser(share: &Path) -> anyhow::Result<()> {
    let Some(parser) = program(share, "apparmor_parser", "usr/sbin/apparmor_parser", &["apparmor"])? else {
        return Ok(());
    };
    let directory = share.join("aa");
    std::fs::create_dir_all(&directory).context("make a directory")?;
    std::fs::copy(&parser, directory.join("apparmor_parser")).context("copy apparmor_parser")?;
    let needs = Command::new("ldd").arg(&parser).output().context("run ldd")?;
    for line in String::from_utf8_lossy(&needs.stdout).lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
        let name = Path::new(path).file_name().unwrap_or_default();
        let name = if name.to_string_lossy().starts_with("ld-") { "ld.so".as_ref() } else { name };
        std::fs::copy(path, directory.join(name)).with_context(|| format!("copy {path}"))?;
    }
    without_packages(share)
}

/// Brings a policy of SELinux along that knows containers.
pub(crate) fn policy(share: &Path) -> anyhow::Result<()> {
    let Some(compiler) = program(share, "secilc", "usr/bin/secilc", &["secilc", "libsepol2"])? else {
        return Ok(());
    };
    let source = share.join("policy.cil");
    std::fs::write(&source, super::policy::text()).context("write the policy")?;
    // 33 is what kernels from 5.10 on take.
    let status = Command::new(compiler)
        .env("LD_LIBRARY_PATH", share.join("packages/lib/x86_64-linux-gnu"))
        .args(["-c", "33", "-f", "/dev/null", "-o"])
        .arg(share.join("policy"))
        .arg(source)
        .status();
    ensure!(status.context("run secilc")?.success(), "secilc failed");
    without_packages(share)
}

/// A program of this machine, else out of packages that lie in the share until it is copied.
fn program(share: &Path, name: &str, place: &str, packages: &[&str]) -> anyhow::Result<Option<PathBuf>> {
    let own = Path::new("/").join(place);
    if own.exists() {
        return Ok(Some(own));
    }
    let directory = share.join("packages");
    std::fs::create_dir_all(&directory).context("make a directory")?;
    let script = format!(
        "cd \"$1\" && apt-get download -q {} > /dev/null 2>&1 && for d in *.deb; do dpkg -x \"$d\" . || exit; done",
        packages.join(" ")
    );
    let status = Command::new("sh").args(["-c", &script, "sh"]).arg(&directory).status();
    // Before the merge of /usr a package may have it in /sbin.
    let found = [place, place.trim_start_matches("usr/")].map(|place| directory.join(place));
    match found.into_iter().find(|path| path.exists()) {
        Some(found) if status.is_ok_and(|status| status.success()) => Ok(Some(found)),
        _ => {
            println!("skipped: no {name}: apt-get download gives no {}", packages.join(", "));
            without_packages(share).map(|()| None)
        }
    }
}

/// The machine has its memory for other things.
fn without_packages(share: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(share.join("packages")) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("remove the packages"),
        _ => Ok(()),
    }
}
