//! Nothing is left behind: by starts that fail, at whatever step; by containers that ended.

use std::process::Stdio;
use wharf_e2e::Engine;

/// One start for each step that can fail; all of them publish a port, so that there is something to leave.
const FAILING: &[&[&str]] = &[
    &["busybox", "no-such-program"],
    &["busybox", "/etc"],
    &["-u", "nobody-such", "busybox", "true"],
    &["-w", "/etc/passwd", "busybox", "true"],
    &["-v", "/etc/passwd:/bin", "busybox", "true"],
    &["--sysctl", "net.no.such=1", "busybox", "true"],
    &["--tmpfs", "/x:size=bad", "busybox", "true"],
    &["--device", "/dev/no-such", "busybox", "true"],
    &["--cpuset-cpus", "999", "busybox", "true"],
    &["--ulimit", "nofile=1:1", "busybox", "no-such-program"],
    &["--pid", "container:none", "busybox", "true"],
    &["--security-opt", "seccomp=/no/such/file", "busybox", "true"],
    &["--network", "nowhere", "busybox", "true"],
];

#[test]
fn failed_starts_leave_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for args in FAILING {
        let done = e.run(&[&["run", "--rm", "-p", "80"], *args].concat());
        assert_ne!(done.code, 0, "{args:?}");
        e.back_to(&before);
    }
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn a_start_that_fails_beside_its_network_leaves_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    // Root and network are made at the same time: either may be first.
    for _ in 0..30 {
        assert_ne!(e.run(&["run", "--rm", "-p", "80", "--tmpfs", "/x:size=bad", "busybox", "true"]).code, 0);
    }
    e.back_to(&before);
}

#[test]
fn a_port_that_another_program_has_leaves_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    let other = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = format!("{}:80", other.local_addr().unwrap().port());
    let done = e.run(&["run", "--rm", "-p", "81", "-p", &taken, "busybox", "true"]);
    assert_eq!(done.code, 125, "{}", done.err);
    assert!(done.err.contains("port is already allocated"), "{}", done.err);
    e.back_to(&before);
    drop(other);
    e.run(&["run", "--rm", "-p", &taken, "busybox", "true"]).ok();
    e.back_to(&before);
}

#[test]
fn ended_containers_leave_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for n in 0..5 {
        e.run(&["run", "-d", "--name", &format!("c{n}"), "-p", "80", "busybox", "sleep", "1000"]).ok();
    }
    let held = e.holdings().beyond(&before);
    for kind in ["cgroup", "link", "process", "directory"] {
        assert!(
            held.iter().filter(|h| h.starts_with(kind)).count() >= 5,
            "the test sees no {kind}: {held:#?}"
        );
    }
    e.run(&["rm", "-f", "c0", "c1", "c2", "c3", "c4"]).ok();
    e.back_to(&before);
}

#[test]
fn clients_that_go_away_in_the_middle_leave_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for n in 0..20u64 {
        let mut client = e
            .wharf()
            .args(["run", "--rm", "-p", "80", "busybox", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A moment of its life each, from before its first request to after its last.
        std::thread::sleep(std::time::Duration::from_millis(n * 2));
        let _ = client.kill();
        client.wait().unwrap();
    }
    // Those that were created and never started are the user's to remove, as with Docker.
    wharf_e2e::eventually("the starts to end", || e.run(&["ps", "-q"]).ok().is_empty());
    for id in e.run(&["ps", "-aq"]).ok().lines() {
        e.run(&["rm", "-f", id]);
    }
    e.back_to(&before);
}

#[test]
fn followers_of_a_quiet_log_that_go_away_leave_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "quiet", "busybox", "sleep", "1000"]).ok();
    let held = || std::fs::read_dir(format!("/proc/{}/fd", e.pid())).unwrap().count();
    let before = held();
    for words in [&["logs", "-f", "quiet"][..], &["events"], &["wait", "quiet"]] {
        let start = || e.wharf().args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let clients: Vec<_> = (0..20).map(|_| start()).collect();
        wharf_e2e::eventually("all to be served", || held() >= before + 20);
        for mut client in clients {
            client.kill().unwrap();
            client.wait().unwrap();
        }
        wharf_e2e::eventually("their descriptors to be given back", || held() <= before + 2);
    }
}

#[test]
fn a_monitor_that_dies_takes_its_container_and_leaves_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    e.run(&["run", "-d", "--name", "orphan", "-p", "80", "busybox", "sleep", "1000"]).ok();
    rustix::process::kill_process(e.monitor_of("orphan"), rustix::process::Signal::KILL).unwrap();
    wharf_e2e::eventually("the end is noticed", || {
        e.run(&["inspect", "--format", "{{.State.Status}}", "orphan"]).ok() == "exited"
    });
    e.run(&["start", "orphan"]).ok();
    e.run(&["rm", "-f", "orphan"]).ok();
    e.back_to(&before);
}
