//! The project's own commands: `cargo xtask tidy|story|clients|application|bench|scale|vm`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // Printing is what these commands are for.

mod application;
mod bench;
mod busybox;
mod clients;
mod scale;
mod story;
mod tidy;
mod vm;

use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const USAGE: &str = "usage: cargo xtask tidy | story | clients | application | bench | bench images | bench registry | bench compose | scale | vm SUITE [selinux]
  tidy   check the project's own rules
  story  build Wharf and go through the container story with examples/hello (root)
  clients  install Docker's clients (docker, Compose, docker-py, Testcontainers, dockerode) and test the engine with them (root)
  application  run nginx, Python, PostgreSQL and Redis from Debian's packages as one application (root)
  bench  measure Wharf beside its peers and refresh BENCHMARKS.md (root)
  bench images    measure pull and push beside Wharf's peers and refresh BENCHMARKS.md (root)
  bench registry  measure the registry beside Debian's docker-registry and refresh BENCHMARKS.md
  bench compose   measure Compose beside Docker's plugin and refresh BENCHMARKS.md
  scale  measure 10, 100 and 1,000 containers at once and refresh BENCHMARKS.md (root)
  vm     the story on the kernel of a Debian suite: bullseye, bookworm, trixie, sid
  vm SUITE selinux  labels of containers on that kernel with SELinux";

fn main() -> anyhow::Result<()> {
    let root = root()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["tidy"] => tidy::run(&root),
        ["story"] => story::run(&root),
        ["clients"] => clients::run(&root),
        ["application"] => application::run(&root),
        ["bench"] => bench::run(&root),
        ["bench", "images"] => bench::images::run(&root),
        ["bench", "compose"] => bench::compose::run(&root),
        ["bench", "registry"] => bench::registry::run(&root),
        ["scale"] => scale::run(&root),
        ["vm", suite] => vm::run(&root, suite),
        ["vm", suite, "selinux"] => vm::selinux(&root, suite),
        _ => bail!("{USAGE}"),
    }
}

/// The project's directory.
fn root() -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_owned).context("find the project's directory")
}

/// Builds the binary for release and returns its path.
fn build_release(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "-p", "wharf", "--message-format=json-render-diagnostics"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("run cargo build")?;
    ensure!(output.status.success(), "cargo build ended with {}", output.status);
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable =
        messages.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()).find_map(|m| {
            let is_ours = m["target"]["name"] == "wharf" && m["target"]["kind"][0] == "bin";
            is_ours.then(|| m["executable"].as_str().map(PathBuf::from)).flatten()
        });
    executable.context("cargo build named no binary")
}
