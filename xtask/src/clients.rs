//! `cargo xtask clients`: the engine through clients of Docker's in other languages.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs docker-py, Testcontainers, dockerode, oras, python-dxf, skopeo, Podman, Buildah, s3rver, and Docker's own client with its Compose plugin below `target`, from
/// the usual registries of their languages, and runs the tests in `tests/clients` with them.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let (scripts, target) = (root.join("tests/clients"), root.join("target/clients"));
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
    python(&scripts, &target)?;
    node(&scripts, &target)?;
    let docker = docker(&scripts, &target)?;
    registry_clients()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut rust = Command::new(&cargo);
    rust.current_dir(scripts.join("rust")).env("CARGO_TARGET_DIR", target.join("rust"));
    done(rust.args(["test", "--no-run", "--quiet", "--locked"]), "is the registry reached?")?;
    done(Command::new(&cargo).current_dir(root).args(["build", "-p", "wharf"]), "")?;
    let mut tests = Command::new(&cargo);
    tests.current_dir(root).args(["test", "-p", "wharf-e2e", "--test", "e2e", "clients"]);
    tests.env("WHARF_CLIENTS", &target);
    if let Some(docker) = docker {
        tests.env("DOCKER_BIN", docker);
    }
    done(&mut tests, "")?;
    // The seams of the registry's storage, on the store that was installed.
    let mut suites = Command::new(cargo);
    suites.current_dir(root).args(["test", "-p", "wharf-distribution", "--lib", "--", "s3", "owner"]);
    done(suites.env("WHARF_CLIENTS", &target), "")
}

fn python(scripts: &Path, target: &Path) -> anyhow::Result<()> {
    let python = target.join("python");
    if !python.join("bin/pip").exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&python), "install python3-venv")?;
    }
    let mut pip = Command::new(python.join("bin/pip"));
    let wanted = scripts.join("requirements.txt");
    done(pip.args(["install", "-q", "-r"]).arg(wanted), "is the registry reached?")
}

fn node(scripts: &Path, target: &Path) -> anyhow::Result<()> {
    std::fs::copy(scripts.join("package.json"), target.join("package.json")).context("copy package.json")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]);
    done(npm.current_dir(target), "install nodejs and npm")
}

/// Docker's client: the one of `DOCKER_BIN`, else Debian's where there is apt, else what there may be in the path.
fn docker(scripts: &Path, target: &Path) -> anyhow::Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os("DOCKER_BIN") {
        return Ok(Some(named.into()));
    }
    if Command::new("apt-get").arg("--version").output().is_err() {
        println!("there is no apt here to get Docker's client with: DOCKER_BIN names one");
        return Ok(None);
    }
    let directory = target.join("docker");
    done(Command::new("bash").arg(scripts.join("docker.sh")).arg(&directory), "is the mirror reached?")?;
    Ok(Some(directory.join("docker")))
}

/// What speaks to the registry, from Debian's packages where there is apt: the tests say so of what is not there.
fn registry_clients() -> anyhow::Result<()> {
    let wanted = ["skopeo", "podman", "buildah"];
    let missing = wanted.iter().filter(|p| Command::new(p).arg("--version").output().is_err());
    let missing: Vec<&&str> = missing.collect();
    if missing.is_empty() || Command::new("apt-get").arg("--version").output().is_err() {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    done(&mut install, "is this root, and the mirror reached?")
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
