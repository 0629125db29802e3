//! Compose files: `config` and hashes as Docker's plugin has them, and what is said of wrong files.

use crate::compose::plugin;
use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::binary;
use wharf_e2e::{Done, run_limited};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/compose/tests/corpus")
}

fn ours(dir: &Path, args: &[&str]) -> Done {
    run_limited(Command::new(binary()).arg("compose").args(args).current_dir(dir), "")
}

/// Files that are read together.
const PROJECTS: [&[&str]; 16] = [
    &["-f", "basics.yaml"],
    &["-f", "small.yaml"],
    &["-f", "profiles.yaml"],
    &["-f", "profiles.yaml", "--profile", "debug"],
    &["-f", "base.yaml"],
    &["-f", "base.yaml", "-f", "override.yaml"],
    &["-f", "extends.yaml"],
    &["-f", "include.yaml"],
    &["-f", "json.json"],
    &["-f", "hooks.yaml"],
    &["-f", "merged.yaml"],
    &["-f", "workers.yaml"],
    &["-f", "workers.yaml", "--profile", "debug"],
    &["-f", "named.yaml"],
    &["-f", "named.yaml", "-f", "named-over.yaml"],
    &["-f", "scalars.yaml"],
];

#[test]
fn config_and_hashes_are_the_plugins() {
    if plugin().is_none() {
        println!("skipped: there is no Compose plugin on this host (beside DOCKER_BIN)");
        return;
    }
    for project in PROJECTS {
        for verb in [&["config"][..], &["config", "--format", "json"], &["config", "--hash", "*"]] {
            let args = [project, verb].concat();
            let theirs = run_limited(plugin().unwrap().args(&args).current_dir(corpus()), "").ok();
            let own = ours(&corpus(), &args).ok();
            assert_eq!(own, theirs.trim_end(), "{args:?}");
        }
    }
}

#[test]
fn reset_and_override() {
    let shown = ours(
        &corpus(),
        &["-f", "base.yaml", "-f", "override.yaml", "-f", "reset.yaml", "config", "--format", "json"],
    )
    .ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let web = &shown["services"]["web"];
    assert_eq!(web["ports"].as_array().unwrap().len(), 1);
    assert_eq!(web["ports"][0]["target"], 90);
    assert!(web["command"].is_null() && web.get("volumes").is_none() && web.get("build").is_none());
    assert_eq!(web["labels"], serde_json::json!({"z": "1"}));
    assert!(web["environment"].get("A").is_none() && web["environment"]["B"] == "3");
}

#[test]
fn wrong_files_are_named_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let said = |file: &str| {
        std::fs::write(dir.path().join("compose.yaml"), file).unwrap();
        let done = ours(dir.path(), &["config"]);
        assert_ne!(done.code, 0, "{file}: {}", done.out);
        done.err
    };
    for (file, expected) in [
        (
            "services:\n  web:\n    imgae: x\n",
            "compose.yaml:3:5: services.web: additional properties 'imgae' not allowed; did you mean 'image'?",
        ),
        (
            "services:\n  web:\n    image: [x]\n",
            "compose.yaml:3:12: services.web.image must be a string, not a list",
        ),
        (
            "services:\n  web:\n    image: x\n    deploy:\n      replicas: many\n",
            "compose.yaml:5:17: services.web.deploy.replicas must be an integer",
        ),
        (
            "services:\n  web:\n    image: ${X\n",
            "compose.yaml:3:12: invalid interpolation format for services.web.image",
        ),
        (
            "services:\n  web:\n    image: ${X:?give one}\n",
            "required variable X is missing a value: give one",
        ),
        ("services:\n  web: {image: x, ports: ['80:x']}\n", "compose.yaml:2:27: invalid port"),
        ("services:\n  web: {image: x\n", "compose.yaml:"),
        (
            "services:\n  web: {image: x, depends_on: [dbb]}\n  db: {image: x}\n",
            "service \"web\" depends on undefined service \"dbb\" (did you mean \"db\"?)",
        ),
        ("services:\n  web: {image: x, networks: [n]}\n", "service \"web\" refers to undefined network n"),
        (
            "services:\n  web: {image: x, volumes: ['data:/d']}\n",
            "service \"web\" refers to undefined volume data",
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
            "dependency cycle detected: a -> b -> a",
        ),
        (
            "services:\n  web: {command: x}\n",
            "service \"web\" has neither an image nor a build context specified",
        ),
        ("services:\n  a: {extends: b}\n  b: {extends: a}\n", "circular reference"),
        (
            "servces: {}\n",
            "compose.yaml:1:1: the file: additional properties 'servces' not allowed; did you mean 'services'?",
        ),
        ("services:\n  web: {image: x, network_mode: host, networks: [default]}\n", "mutually exclusive"),
    ] {
        let found = said(file);
        assert!(found.contains(expected), "{file}\n{found}\nexpected: {expected}");
    }
}

#[test]
fn variables_and_environment_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "compose.yaml",
        "name: ${NAME:-vars}\nservices:\n  web:\n    image: busybox:${TAG}\n    environment: {P: \"${COMPOSE_PROJECT_NAME}\", N: }\n    env_file: [a.env, {path: no.env, required: false}]\n",
    );
    write(".env", "TAG=1\nN=inherited\n");
    write("other.env", "TAG=2\n");
    write("a.env", "F=from $TAG\nQ='$TAG'\n");
    let config = |args: &[&str]| -> serde_json::Value {
        let done = ours(dir.path(), &[args, &["config", "--format", "json"]].concat());
        serde_json::from_str(&done.ok()).unwrap()
    };
    let web = &config(&[])["services"]["web"];
    assert_eq!(web["image"], "busybox:1");
    assert_eq!(
        web["environment"],
        serde_json::json!({"F": "from 1", "N": "inherited", "P": "vars", "Q": "$$TAG"})
    );
    assert_eq!(config(&["--env-file", "other.env", "-p", "else"])["services"]["web"]["image"], "busybox:2");
    assert_eq!(config(&["-p", "else"])["name"], "else");
    let missing = ours(dir.path(), &["--env-file", "none.env", "config"]);
    assert!(missing.code == 1 && missing.err.contains("none.env"), "{}", missing.err);
    let unset = ours(dir.path(), &["-f", "compose.yaml", "--env-file", "a.env", "config"]);
    assert!(unset.err.contains("The \"TAG\" variable is not set"), "{}", unset.err);
}
