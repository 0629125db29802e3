//! Rules that the compiler does not check: arrows between crates, the place of unsafe code, the words of files.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate with those it may use (ARCHITECTURE.md, "Map").
const ARROWS: [(&str, &[&str]); 20] = [
    ("failpoint", &[]),
    ("sys", &[]),
    ("oci", &[]),
    ("grpc", &[]),
    ("docker-api", &[]),
    ("model", &["oci"]),
    ("runtime", &["failpoint", "sys", "oci"]),
    ("network", &["failpoint", "sys", "model"]),
    ("storage", &["failpoint", "sys", "oci", "model"]),
    ("signing", &["oci", "model"]),
    ("distribution", &["oci", "model", "signing"]),
    ("engine", &["failpoint", "model", "oci", "distribution", "signing"]),
    ("git", &["model", "oci", "distribution"]),
    ("build", &["git", "engine", "model", "oci", "distribution"]),
    ("buildkit", &["grpc", "build", "engine", "model", "oci", "distribution"]),
    (
        "docker-server",
        &["sys", "docker-api", "engine", "build", "buildkit", "git", "model", "oci", "distribution"],
    ),
    ("compose", &["docker-api"]),
    ("cli", &["docker-api", "compose", "grpc"]),
    // The end-to-end tests drive the binary from outside.
    ("e2e", &[]),
    // The fuzz targets reach for what reads bytes of strangers.
    (
        "fuzz",
        &[
            "build",
            "buildkit",
            "compose",
            "docker-server",
            "engine",
            "git",
            "grpc",
            "model",
            "network",
            "oci",
            "runtime",
            "storage",
        ],
    ),
];

/// Words that have no place in finished code.
const UNFINISHED: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// Checks everything and reports all that is wrong.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut faults = arrows(root)?;
    for file in rust_files(root)? {
        faults.extend(check_file(root, &file)?);
    }
    faults.extend(forbidden_unsafe(root)?);
    faults.extend(missing_paths(root)?);
    if faults.is_empty() {
        println!("tidy");
        return Ok(());
    }
    bail!("{} faults:\n{}", faults.len(), faults.join("\n"))
}

fn arrows(root: &Path) -> anyhow::Result<Vec<String>> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).current_dir(root).args(["metadata", "--no-deps", "--format-version=1"]).output();
    let metadata: serde_json::Value = serde_json::from_slice(&output.context("run cargo metadata")?.stdout)?;
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata has no packages")? {
        let Some(name) = package["name"].as_str().and_then(|n| n.strip_prefix("wharf-")) else { continue };
        let Some(allowed) = allowed.get(name) else {
            faults.push(format!("crates/{name} has no arrows: name them in ARCHITECTURE.md and in tidy"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        // Tests may use more: suites and fakes.
        for dependency in dependencies.filter(|d| d["kind"] != "dev") {
            let used = dependency["name"].as_str().and_then(|n| n.strip_prefix("wharf-"));
            if let Some(used) = used.filter(|u| !allowed.contains(u)) {
                faults
                    .push(format!("crates/{name} uses crates/{used}, which ARCHITECTURE.md does not allow"));
            }
        }
    }
    Ok(faults)
}

fn rust_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories: Vec<PathBuf> =
        ["crates", "xtask", "tests", "examples"].iter().map(|d| root.join(d)).collect();
    while let Some(directory) = directories.pop().filter(|d| d.is_dir()) {
        for entry in std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|n| n != "target") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn check_file(root: &Path, file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let shown = file.strip_prefix(root).unwrap_or(file).display();
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push(format!("{shown}: the first line does not say what lives here (//! …)"));
    }
    for word in UNFINISHED.iter().filter(|w| text.contains(**w)) {
        faults.push(format!("{shown}: {word} is unfinished"));
    }
    Ok(faults)
}

/// Every crate but `sys` forbids unsafe code at its root.
fn forbidden_unsafe(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    let crates = std::fs::read_dir(root.join("crates")).context("read crates")?;
    for entry in crates {
        let path = entry?.path();
        if path.file_name().is_some_and(|n| n == "sys") {
            continue;
        }
        let roots = ["src/lib.rs", "src/main.rs"].map(|f| path.join(f));
        for file in roots.iter().filter(|f| f.exists()) {
            if !std::fs::read_to_string(file)?.contains("#![forbid(unsafe_code)]") {
                faults.push(format!("{}: unsafe code is not forbidden", file.display()));
            }
        }
    }
    Ok(faults)
}

/// Paths that ARCHITECTURE.md and README.md name in backticks must be there.
fn missing_paths(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for document in ["ARCHITECTURE.md", "README.md"] {
        let text =
            std::fs::read_to_string(root.join(document)).with_context(|| format!("read {document}"))?;
        let named = text.split('`').skip(1).step_by(2);
        let paths =
            named.filter(|n| ["crates/", "tests/", "xtask/", "examples/"].iter().any(|p| n.starts_with(p)));
        faults.extend(
            paths
                .filter(|p| !root.join(p).exists())
                .map(|p| format!("{document} names {p}, which is not there")),
        );
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_project_is_tidy() {
        super::run(&crate::root().unwrap()).unwrap();
    }
}
