//! Things that do not answer hold nothing up: monitors, clients, frozen cgroups, processes on their way.

use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::Stdio;
use wharf_e2e::{Engine, eventually};

fn sleeper(e: &Engine, name: &str) {
    e.run(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]).ok();
}

fn status(e: &Engine, name: &str) -> String {
    e.run(&["inspect", "--format", "{{.State.Status}}", name]).ok()
}

#[test]
fn a_monitor_that_does_not_answer_does_not_keep_its_container() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for name in ["c1", "c2"] {
        sleeper(&e, name);
        kill_process(e.monitor_of(name), Signal::STOP).unwrap();
    }
    e.run(&["rm", "-f", "c1"]).ok();
    // The next engine comes up all the same, and shows what it knows.
    e.kill();
    e.launch();
    assert_eq!(status(&e, "c2"), "running");
    e.run(&["rm", "-f", "c2"]).ok();
    e.back_to(&before);
}

#[test]
fn a_client_that_does_not_read_does_not_keep_a_container() {
    let Some(e) = Engine::start() else { return };
    let mut client = e
        .wharf()
        .args(["run", "--rm", "--name", "c1", "busybox", "cat", "/dev/zero"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads a little, so that everything flows, and then no more.
    let mut out = client.stdout.take().unwrap();
    out.read_exact(&mut [0; 4096]).unwrap();
    let done = e.run(&["rm", "-f", "c1"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_ne!(e.run(&["container", "inspect", "c1"]).code, 0);
    drop(out);
    let _ = client.kill();
    client.wait().unwrap();
}

#[test]
fn a_freezer_that_nobody_told_of_does_not_keep_a_container() {
    let Some(mut e) = Engine::start() else { return };
    sleeper(&e, "c1");
    sleeper(&e, "c2");
    e.run(&["pause", "c1"]).ok();
    e.run(&["pause", "c2"]).ok();
    let record = e.path("data");
    assert!(record.exists());
    e.kill();
    e.launch();
    assert_eq!(status(&e, "c1"), "paused", "as the kernel says");
    e.run(&["unpause", "c1"]).ok();
    assert_eq!(status(&e, "c1"), "running");
    e.run(&["kill", "c2"]).ok();
    eventually("its end", || status(&e, "c2") == "exited");
    e.run(&["rm", "-f", "c1", "c2"]).ok();
}

#[test]
fn a_second_stop_does_not_put_the_first_off() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        .ok();
    let mut first = e.wharf().args(["stop", "-t", "1", "c1"]).stdout(Stdio::null()).spawn().unwrap();
    let second = e.run(&["stop", "-t", "600", "c1"]);
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(first.wait().unwrap().success());
}

/// The processes that a process has started.
fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero();
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let numbers =
        |list: String| list.split(' ').filter_map(|n| Pid::from_raw(n.parse().ok()?)).collect::<Vec<_>>();
    lists.flat_map(numbers).collect()
}

#[test]
fn processes_of_the_engine_that_die_are_replaced() {
    let Some(mut e) = Engine::start() else { return };
    let runs = |e: &Engine| assert_eq!(e.run(&["run", "--rm", "busybox", "echo", "x"]).ok(), "x");
    runs(&e);
    let before = e.holdings();
    sleeper(&e, "c1");
    let engine = Pid::from_raw(e.pid() as i32).unwrap();
    let spawner = children(engine)[0];
    let monitor = e.monitor_of("c1");
    let ahead = || children(spawner).into_iter().find(|child| *child != monitor);
    eventually("a monitor made ahead", || ahead().is_some());
    kill_process(ahead().unwrap(), Signal::KILL).unwrap();
    runs(&e);
    kill_process(spawner, Signal::KILL).unwrap();
    runs(&e);
    assert_ne!(children(engine), [spawner]);
    assert_eq!(e.run(&["exec", "c1", "echo", "here"]).ok(), "here");
    e.kill();
    e.launch();
    assert_eq!(status(&e, "c1"), "running");
    e.run(&["rm", "-f", "c1"]).ok();
    e.back_to(&before);
}
