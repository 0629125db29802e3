//! Nothing is left behind: by starts that fail, by containers that ended.

use wharf_e2e::{Engine, eventually};

#[test]
fn failed_starts_leave_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for args in [
        &["busybox", "no-such-program"][..],
        &["-u", "nobody-such", "busybox", "true"],
        &["--sysctl", "net.no.such=1", "busybox", "true"],
        &["-v", "/etc/passwd:/bin", "busybox", "true"],
        &["--ulimit", "nofile=1:1", "-p", "80", "busybox", "no-such-program"],
        &["--pid", "container:none", "busybox", "true"],
        &["-p", "80", "--tmpfs", "/x:size=bad", "busybox", "true"],
        &["--cpuset-cpus", "999", "busybox", "true"],
    ] {
        let done = e.run(&[&["run", "--rm"], args].concat());
        assert_ne!(done.code, 0, "{args:?}");
    }
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
    eventually("nothing left", || e.holdings().beyond(&before).is_empty());
    let run = std::fs::read_dir(e.path("exec/containers")).unwrap().count();
    let data = std::fs::read_dir(e.path("data/containers")).unwrap().count();
    assert_eq!((run, data), (0, 0));
}

#[test]
fn ended_containers_leave_nothing() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    for n in 0..5 {
        e.run(&["run", "-d", "--name", &format!("c{n}"), "-p", "80", "busybox", "sleep", "1000"]).ok();
    }
    assert!(!e.holdings().beyond(&before).is_empty());
    e.run(&["rm", "-f", "c0", "c1", "c2", "c3", "c4"]).ok();
    eventually("nothing left", || e.holdings().beyond(&before).is_empty());
}
