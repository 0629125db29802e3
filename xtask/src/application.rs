//! `cargo xtask application`: Compose with real programs, nginx, Python, PostgreSQL and Redis, from Debian's packages.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = "python3,python3-psycopg2,python3-redis,nginx-light,postgresql,redis-server";
const SUITE: &str = "bookworm";

/// Makes the file tree that all services of `tests/applications/shop` run in, once, and runs the tests that need it.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let directory = root.join("target/application");
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let Some(archive) = base(&directory)? else { return Ok(()) };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(&cargo).current_dir(root).args(["build", "-p", "wharf"]).status();
    ensure!(built.context("run cargo build")?.success(), "cargo build failed");
    let mut tests = Command::new("tests/own-network.sh");
    tests.current_dir(root).arg(cargo);
    tests.args(["test", "-p", "wharf-e2e", "--test", "e2e", "applications", "--", "--nocapture"]);
    tests.args(["--test-threads=1"]).env("WHARF_APPLICATION", archive);
    // What `cargo xtask clients` has installed.
    let docker = root.join("target/clients/docker/docker");
    if std::env::var_os("DOCKER_BIN").is_none() && docker.exists() {
        tests.env("DOCKER_BIN", docker);
    }
    ensure!(tests.status().context("run the tests")?.success(), "the application's tests failed");
    Ok(())
}

/// `None`, said aloud, where there is nothing to make it with.
fn base(directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    let archive = directory.join("base.tar");
    if archive.exists() {
        return Ok(Some(archive));
    }
    if Command::new("mmdebstrap").arg("--version").output().is_err() {
        println!("skipped: there is no mmdebstrap to make a file tree of Debian's packages with");
        return Ok(None);
    }
    let part = directory.join("base.part");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--format=tar", "--variant=minbase", &format!("--include={PACKAGES}")]);
    for path in ["man", "doc"] {
        make.arg(format!("--dpkgopt=path-exclude=/usr/share/{path}/*"));
    }
    let made = make.arg(SUITE).arg(&part).status().context("run mmdebstrap")?;
    ensure!(made.success(), "mmdebstrap failed: is this root, and Debian's mirror reached?");
    std::fs::rename(&part, &archive).with_context(|| format!("name {}", archive.display()))?;
    Ok(Some(archive))
}
