//! Repositories of Git as build contexts, in ADD and as Compose files.

use crate::compose::{Client, Project, clients};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use wharf_e2e::{Engine, run_limited};

fn git(at: &Path, args: &[&str]) {
    let done = Command::new("git")
        .current_dir(at)
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Serves the repositories below a directory; the address.
fn serve(root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("git://{}", listener.local_addr().unwrap());
    let base = format!("--base-path={}", root.display());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (input, output): (OwnedFd, OwnedFd) = (stream.try_clone().unwrap().into(), stream.into());
            let mut command = Command::new("git");
            command.args(["daemon", "--inetd", "--export-all", &base]).stdin(input).stdout(output);
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory");
            let mut child = command.env("GIT_CONFIG_VALUE_0", "*").stderr(Stdio::null()).spawn().unwrap();
            std::thread::spawn(move || child.wait());
        }
    });
    address
}

/// A repository with an application in a directory of its own; its address.
fn repository(root: &Path) -> String {
    let at = root.join("shop.git");
    std::fs::create_dir_all(at.join("app/src")).unwrap();
    git(&at, &["init", "-q", "-b", "main"]);
    let write = |name: &str, text: &str| std::fs::write(at.join(name), text).unwrap();
    write("Dockerfile", "FROM busybox\nCOPY app/src /src\nCMD cat /src/text\n");
    write("app/Dockerfile", "FROM busybox\nCOPY src/text /text\nCMD cat /text\n");
    write("app/src/text", "from git\n");
    write("app/compose.yaml", "name: shop\nservices:\n  web:\n    build: .\n    env_file: web.env\n");
    write("app/web.env", "A=1\n");
    git(&at, &["add", "."]);
    git(&at, &["commit", "-qm", "first"]);
    git(&at, &["tag", "v1"]);
    write("app/src/text", "newer\n");
    git(&at, &["commit", "-qam", "second"]);
    format!("{}/shop.git", serve(root))
}

fn here() -> bool {
    let there = Command::new("git").arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: no git here");
    }
    there
}

#[test]
fn contexts_and_files() {
    let Some(e) = Engine::start() else { return };
    if !here() {
        return;
    }
    let address = repository(&e.path("repositories"));
    let run = |image: &str| e.run(&["run", "--rm", image]).ok();
    e.run(&["build", "-t", "whole", &address]).ok();
    assert_eq!(run("whole"), "newer");
    e.run(&["build", "-t", "part", &format!("{address}#v1:app")]).ok();
    assert_eq!(run("part"), "from git");
    let absent = e.run(&["build", &format!("{address}#v9")]);
    assert!(absent.code != 0 && absent.err.contains("has no branch, tag or commit v9"), "{}", absent.err);
    let ssh = e.run(&["build", "git@example.org:a/b.git"]);
    assert!(ssh.err.contains("https://example.org/a/b.git"), "{}", ssh.err);
    let directory = e.path("adds");
    std::fs::create_dir_all(&directory).unwrap();
    let dockerfile = format!("FROM busybox\nADD {address}#v1:app/src /got\nCMD cat /got/text\n");
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    e.run(&["build", "-t", "added", &directory.display().to_string()]).ok();
    assert_eq!(run("added"), "from git");
    let again = e.run(&["build", "-t", "added", &directory.display().to_string()]).ok();
    assert!(again.contains("Using cache"), "{again}");
}

#[test]
fn compose_files() {
    let Some(e) = Engine::start() else { return };
    if !here() {
        return;
    }
    let address = repository(&e.path("repositories"));
    let project = Project::new(&e, "far", &format!("include:\n  - {address}#v1:app/compose.yaml\n"));
    let mut seen = Vec::new();
    for client in clients() {
        let cache = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let mut command = project.command(client).unwrap();
            command.env("XDG_CACHE_HOME", cache.path()).env("HOME", cache.path());
            run_limited(command.args(args), "").ok()
        };
        let far = format!("{address}#v1:app");
        let text = run(&["-f", &far, "config"]).replace(&cache.path().display().to_string(), "CACHE");
        let included = run(&["config"]).replace(&cache.path().display().to_string(), "CACHE");
        assert!(text.contains("A: \"1\"") && text.contains("/app"), "{client:?}: {text}");
        seen.push((text, included));
        run(&["-f", &far, "up", "-d", "--build"]);
        let logs = || run(&["-f", &far, "logs", "--no-log-prefix", "web"]);
        wharf_e2e::eventually("the service's words", || logs().contains("from git"));
        run(&["-f", &far, "down", "--rmi", "local"]);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    let mut command = project.command(Client::Ours).unwrap();
    let absent = run_limited(command.args(["-f", &format!("{address}#v9"), "config"]), "");
    assert!(absent.code != 0 && absent.err.contains("has no branch, tag or commit v9"), "{}", absent.err);
}
