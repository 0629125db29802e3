//! `cargo xtask clients`: the engine through clients of Docker's in other languages.

use anyhow::{Context, ensure};
use std::path::Path;
use std::process::Command;

/// Installs docker-py, Testcontainers and dockerode below `target`, from the usual registries of their languages, and
/// runs the tests in `tests/clients` with them.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let (scripts, target) = (root.join("tests/clients"), root.join("target/clients"));
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
    let python = target.join("python");
    if !python.join("bin/pip").exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&python), "install python3-venv")?;
    }
    let mut pip = Command::new(python.join("bin/pip"));
    done(
        pip.args(["install", "-q", "-r"]).arg(scripts.join("requirements.txt")),
        "is the registry reached?",
    )?;
    std::fs::copy(scripts.join("package.json"), target.join("package.json")).context("copy package.json")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]);
    done(npm.current_dir(&target), "install nodejs and npm")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    done(Command::new(&cargo).current_dir(root).args(["build", "-p", "wharf"]), "")?;
    let mut tests = Command::new(cargo);
    tests.current_dir(root).args(["test", "-p", "wharf-e2e", "--test", "e2e", "clients"]);
    done(tests.env("WHARF_CLIENTS", &target), "")
}

fn done(command: &mut Command, mend: &str) -> anyhow::Result<()> {
    let shown = format!(
        "{} {}",
        command.get_program().display(),
        command.get_args().next().unwrap_or_default().display()
    );
    let status = command.status().with_context(|| format!("run {shown}: {mend}"))?;
    ensure!(status.success(), "{shown} ended with {status}: {mend}");
    Ok(())
}
