//! What a container may not do.

use wharf_e2e::Engine;

fn sh(e: &Engine, flags: &[&str], script: &str) -> String {
    e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat()).ok()
}

#[test]
fn defaults_are_dockers() {
    let Some(e) = Engine::start() else { return };
    let status = sh(&e, &[], "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status");
    assert!(status.contains("CapEff:\t00000000a80425fb"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(sh(&e, &["--cap-drop", "ALL"], "grep CapEff /proc/self/status").ends_with("0000000000000000"));
    assert!(
        sh(&e, &["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status").ends_with('1')
    );
    assert!(
        sh(&e, &["--security-opt", "seccomp=unconfined"], "grep '^Seccomp:' /proc/self/status")
            .ends_with('0')
    );
}

#[test]
fn the_kernel_refuses() {
    let Some(e) = Engine::start() else { return };
    for script in [
        "mount -t tmpfs x /tmp",
        "unshare -m true",
        "echo x > /proc/sys/kernel/hostname",
        "echo b > /proc/sysrq-trigger",
        "touch /sys/x",
        "mknod /tmp/d b 254 0 && head -c 1 /tmp/d",
        "cat /proc/kcore | head -c 1 | grep .",
        "ls /sys/firmware | grep .",
        "mkdir /sys/fs/cgroup/x",
    ] {
        assert_eq!(
            sh(&e, &[], &format!("({script}) >/dev/null 2>&1 || echo refused")),
            "refused",
            "{script}"
        );
    }
}

#[test]
fn the_host_is_out_of_sight() {
    let Some(e) = Engine::start() else { return };
    let marker = e.path("marker");
    std::fs::write(&marker, "host").unwrap();
    let script = format!(
        "ls {} 2>/dev/null; ls /proc | grep -c '^[0-9]*$'; ls -l /proc/self/fd | grep -c /",
        marker.display()
    );
    let seen = sh(&e, &[], &script);
    assert!(!seen.contains("marker"), "{seen}");
    let processes: u32 = seen.lines().next().unwrap().parse().unwrap();
    assert!(processes < 6, "{seen}");
    let privileged = sh(&e, &["--privileged"], "mount -t tmpfs x /tmp && echo mounted; ls /dev | grep -c .");
    assert!(privileged.starts_with("mounted"), "{privileged}");
}

#[test]
fn no_descriptor_of_ours_leaks_in() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    for args in [&["run", "--rm", "busybox"][..], &["exec", "c1"]] {
        let list = e.run(&[args, &["ls", "/proc/self/fd"]].concat()).ok();
        assert_eq!(list, "0\n1\n2\n3", "{args:?}: ls itself opens 3");
    }
}

#[test]
fn the_filter_refuses_what_dockers_does() {
    let Some(e) = Engine::start() else { return };
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/refused.c");
    let made =
        std::process::Command::new("cc").args(["-static", "-o"]).arg(e.path("refused")).arg(source).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: cc makes no static program here");
        return;
    }
    let bind = format!("{}:/refused:ro", e.path("refused").display());
    assert_eq!(e.run(&["run", "--rm", "-v", &bind, "busybox", "/refused"]).ok(), "tried");
    let open =
        e.run(&["run", "--rm", "--security-opt", "seccomp=unconfined", "-v", &bind, "busybox", "/refused"]);
    assert!(open.ok().contains("keyctl"), "the test sees a difference");
}
