//! What somebody removes behind the engine's back: each thing ends in a clear state, and the next start has it again.

use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::{Engine, eventually};

/// A container that writes, listens on a published port, and ends politely.
fn served(e: &Engine) -> String {
    // The page is there only after the trap is.
    let script = "trap 'exit 5' TERM; mkdir -p /w; echo page > /w/index.html; httpd -h /w; echo up; \
                  while true; do usleep 10000; done";
    e.run(&["run", "-d", "--name", "web", "-p", "80", "-v", "vol:/vol", "busybox", "sh", "-c", script]).ok();
    address(e)
}

fn address(e: &Engine) -> String {
    let port = e.run(&["port", "web", "80"]).ok();
    let address = format!("127.0.0.1:{}", port.lines().next().unwrap().rsplit(':').next().unwrap());
    eventually("the page", || wharf_e2e::get(&address).as_deref() == Some("page\n"));
    address
}

fn state(e: &Engine) -> String {
    e.run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web"]).ok()
}

/// All of it works again, and goes.
fn works_again(e: &Engine, before: &wharf_e2e::Holdings) {
    e.run(&["restart", "-t", "5", "web"]).ok();
    address(e);
    assert_eq!(e.run(&["exec", "web", "cat", "/w/index.html"]).ok(), "page");
    e.run(&["stop", "web"]).ok();
    assert_eq!(state(e), "exited 5");
    e.run(&["start", "web"]).ok();
    e.run(&["rm", "-f", "web"]).ok();
    e.run(&["volume", "rm", "-f", "vol"]).ok();
    e.back_to(before);
}

fn started() -> Option<(Engine, wharf_e2e::Holdings)> {
    let e = Engine::start()?;
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    served(&e);
    Some((e, before))
}

/// Removes network interfaces with the program `ip`; false where it is not there.
fn remove_link(name: &str) -> bool {
    let Ok(done) = Command::new("ip").args(["link", "delete", name]).status() else {
        println!("skipped: the program ip is not there");
        return false;
    };
    assert!(done.success());
    true
}

fn links(e: &Engine, kind: impl Fn(&str) -> bool) -> Vec<String> {
    let all = e.holdings().all();
    all.iter().filter_map(|l| l.strip_prefix("link ")).filter(|l| kind(l)).map(str::to_owned).collect()
}

fn is_bridge(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("bridge").exists()
}

#[test]
fn a_lost_interface_comes_back_with_the_next_start() {
    let Some((e, before)) = started() else { return };
    for name in links(&e, |l| !is_bridge(l)) {
        if !remove_link(&name) {
            return;
        }
    }
    assert!(state(&e).starts_with("running"));
    assert_eq!(e.run(&["stats", "--no-stream", "web"]).code, 0);
    works_again(&e, &before);
}

#[test]
fn a_lost_bridge_comes_back_with_the_next_start() {
    let Some((e, before)) = started() else { return };
    for name in links(&e, is_bridge) {
        if !remove_link(&name) {
            return;
        }
    }
    assert!(state(&e).starts_with("running"));
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    works_again(&e, &before);
}

/// Moves a container's processes up and removes its groups.
fn remove_cgroups(e: &Engine, id: &str) {
    let groups: Vec<PathBuf> = e
        .holdings()
        .all()
        .iter()
        .filter_map(|l| l.strip_prefix("cgroup "))
        .filter(|l| l.contains(id))
        .map(PathBuf::from)
        .collect();
    assert!(!groups.is_empty());
    for group in groups.iter().rev() {
        eventually("the group is empty", || {
            let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in processes.lines() {
                // One that ended meanwhile needs no place.
                let _ = std::fs::write(group.parent().unwrap().join("cgroup.procs"), pid);
            }
            std::fs::remove_dir(group).is_ok()
        });
    }
}

#[test]
fn a_lost_cgroup_ends_nothing() {
    let Some((e, before)) = started() else { return };
    let id = e.run(&["inspect", "--format", "{{.Id}}", "web"]).ok();
    remove_cgroups(&e, &id);
    assert!(state(&e).starts_with("running"));
    for command in
        [&["stats", "--no-stream", "web"][..], &["pause", "web"], &["exec", "web", "true"], &["top", "web"]]
    {
        let done = e.run(command);
        let said = format!("{}{}", done.out, done.err);
        assert!(done.code == 0 || !said.trim().is_empty(), "{command:?}: no word why");
    }
    assert!(state(&e).starts_with("running"));
    works_again(&e, &before);
}

#[test]
fn a_lost_run_directory_keeps_nobody_from_stopping() {
    for what in ["", "monitor.sock"] {
        let Some((e, before)) = started() else { return };
        let id = e.run(&["inspect", "--format", "{{.Id}}", "web"]).ok();
        let path = e.path("exec/containers").join(&id).join(what);
        if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.unwrap();
        assert!(state(&e).starts_with("running"));
        let done = e.run(&["exec", "web", "true"]);
        assert!(done.code != 0 && format!("{}{}", done.out, done.err).contains("not running"), "{done:?}");
        e.run(&["stop", "-t", "30", "web"]).ok();
        assert_eq!(state(&e), "exited 5");
        works_again(&e, &before);
    }
}

#[test]
fn a_lost_run_directory_and_a_new_engine() {
    let Some((mut e, before)) = started() else { return };
    let id = e.run(&["inspect", "--format", "{{.Id}}", "web"]).ok();
    e.kill();
    std::fs::remove_dir_all(e.path("exec/containers").join(&id)).unwrap();
    e.launch();
    // Its monitor is out of reach for good: the container is ended, and says so.
    assert_eq!(state(&e), "exited 137");
    works_again(&e, &before);
}

#[test]
fn a_lost_container_directory_comes_back_with_the_next_start() {
    let Some((e, before)) = started() else { return };
    let id = e.run(&["inspect", "--format", "{{.Id}}", "web"]).ok();
    std::fs::remove_dir_all(e.path("data/containers").join(&id)).unwrap();
    e.run(&["logs", "web"]);
    assert!(state(&e).starts_with("running"));
    e.run(&["restart", "-t", "5", "web"]).ok();
    eventually("a log again", || e.run(&["logs", "web"]).ok() == "up");
    works_again(&e, &before);
}

#[test]
fn a_lost_volume_and_a_lost_snapshot_are_named() {
    let Some((e, before)) = started() else { return };
    e.run(&["stop", "web"]).ok();
    let volume = e.run(&["volume", "inspect", "--format", "{{.Mountpoint}}", "vol"]).ok();
    std::fs::remove_dir_all(&volume).unwrap();
    let done = e.run(&["start", "web"]);
    assert!(done.code != 0 && done.err.contains("vol"), "{}", done.err);
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "vol");
    e.run(&["volume", "create", "vol"]).ok();
    e.run(&["start", "web"]).ok();
    e.run(&["stop", "web"]).ok();
    let snapshots: Vec<String> = e
        .holdings()
        .beyond(&before)
        .into_iter()
        .filter(|h| h.starts_with("directory data/snapshots/t/"))
        .collect();
    for snapshot in snapshots {
        std::fs::remove_dir_all(e.path(snapshot.strip_prefix("directory ").unwrap())).unwrap();
    }
    let done = e.run(&["start", "web"]);
    assert!(done.code != 0 && done.err.contains("snapshots/t/"), "{}", done.err);
    assert_eq!(e.run(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok(), "web exited");
    e.run(&["rm", "web"]).ok();
    e.run(&["volume", "rm", "vol"]).ok();
    e.back_to(&before);
}
