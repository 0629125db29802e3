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
fn parameters_of_the_host_stay_the_hosts() {
    let Some(e) = Engine::start() else { return };
    let file = "/proc/sys/vm/swappiness";
    let before = std::fs::read_to_string(file).unwrap();
    // The value it has: were it written, the test would change nothing.
    let host = format!("vm.swappiness={}", before.trim());
    for flags in [&["--sysctl", &host][..], &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"]] {
        let done = e.run(&[&["run", "--rm"], flags, &["busybox", "true"]].concat());
        assert_eq!(done.code, 125, "{flags:?}: {}", done.err);
        assert!(done.err.contains("sysctl"), "{flags:?}: {}", done.err);
    }
    let own = ["run", "--rm", "--sysctl", "net.ipv4.ip_default_ttl=77", "--sysctl", "kernel.msgmax=4096"];
    let show = ["busybox", "cat", "/proc/sys/net/ipv4/ip_default_ttl", "/proc/sys/kernel/msgmax"];
    assert_eq!(e.run(&[&own[..], &show].concat()).ok(), "77\n4096");
}

#[test]
fn a_working_directory_does_not_lead_out() {
    let Some(e) = Engine::start() else { return };
    let marker = e.path("marker");
    std::fs::write(&marker, "host").unwrap();
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    for number in 3..40 {
        let link = format!("ln -sfn /proc/self/fd/{number} /away{number}");
        e.run(&["exec", "c1", "sh", "-c", &link]).ok();
    }
    let up = "../".repeat(12);
    let file = format!("{up}{}", marker.strip_prefix("/").unwrap().display());
    for number in 3..40 {
        for directory in [format!("/away{number}"), format!("/proc/self/fd/{number}")] {
            let done = e.run(&["exec", "-w", &directory, "c1", "cat", &file]);
            assert!(done.code != 0 && !done.out.contains("host"), "{directory}: {}{}", done.out, done.err);
        }
    }
    for number in 3..40 {
        let directory = format!("/proc/self/fd/{number}");
        let done = e.run(&["run", "--rm", "-w", &directory, "busybox", "cat", &file]);
        assert!(done.code != 0 && !done.out.contains("host"), "{directory}: {}{}", done.out, done.err);
    }
}

#[test]
fn the_hosts_null_device_stays_as_it_is() {
    use std::os::unix::fs::MetadataExt;
    let Some(e) = Engine::start() else { return };
    let of_host = || {
        let found = std::fs::metadata("/dev/null").unwrap();
        (found.mode(), found.uid(), found.gid())
    };
    let before = of_host();
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    // What it has already: were it changed, the host would be none the worse.
    let script = "for f in /proc/keys /proc/kcore /proc/timer_list /dev/stdin /dev/null; do \
                  chmod 0666 $f 2>/dev/null; chown 0:0 $f 2>/dev/null; chgrp 77 $f 2>/dev/null; done; \
                  stat -c %g /dev/stdin /proc/self/fd/0; cat /dev/stdin";
    for args in [&["run", "--rm", "busybox"][..], &["exec", "c1"]] {
        let done = e.run(&[args, &["sh", "-c", script]].concat());
        if of_host() != before {
            // The test's own damage.
            std::os::unix::fs::chown("/dev/null", Some(before.1), Some(before.2)).unwrap();
            panic!("{args:?} changed the host's /dev/null: {}{}", done.out, done.err);
        }
    }
    // Who may mount may undo that a mask is read-only: the device below it is the container's own, too.
    let mounts = ["run", "--rm", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    let script = "mount -o remount,bind,rw /proc/keys && stat -c %D /dev/null /proc/keys";
    let devices = e.run(&[&mounts[..], &["busybox", "sh", "-c", script]].concat()).ok();
    let devices: Vec<&str> = devices.lines().collect();
    assert!(matches!(devices[..], [dev, masked] if dev == masked), "{devices:?}");
    // A container without a null device of its own gets one for its streams.
    let script = "rm /dev/null; echo file > /dev/null";
    e.run(&["exec", "c1", "sh", "-c", script]).ok();
    let stream = e.run(&["exec", "c1", "sh", "-c", "stat -Lc '%t,%T %a' /proc/self/fd/0; cat"]).ok();
    assert_eq!(stream, "1,3 666");
    let masked =
        e.run(&["run", "--rm", "busybox", "sh", "-c", "cat /proc/keys; echo x > /proc/keys; echo $?"]);
    assert_eq!(masked.ok(), "0", "what is masked reads as empty and takes everything");
}

#[test]
fn standard_streams_are_the_users() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let script = "echo out > /dev/stdout; echo err > /dev/stderr";
    for args in [&["run", "--rm", "-u", "1000", "busybox"][..], &["exec", "-u", "1000", "c1"]] {
        let done = e.run(&[args, &["sh", "-c", script]].concat());
        assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "out\n", "err\n"), "{args:?}");
    }
    let tty = e.run(&["run", "--rm", "-t", "-u", "1000", "busybox", "sh", "-c", "echo tty > /dev/stdout"]);
    assert_eq!(tty.ok().trim(), "tty");
}

#[test]
fn a_device_that_is_mounted_keeps_its_owner() {
    use std::os::unix::fs::MetadataExt;
    let Some(e) = Engine::start() else { return };
    let device = e.path("device");
    let made = std::process::Command::new("mknod").arg(&device).args(["c", "1", "5"]).status();
    assert!(made.expect("run mknod").success());
    std::os::unix::fs::chown(&device, Some(7), Some(8)).unwrap();
    let bind = format!("{}:/dev/tried", device.display());
    e.run(&["run", "--rm", "-v", &bind, "--device", "/dev/zero:/dev/tried", "busybox", "true"]).ok();
    let found = std::fs::metadata(&device).unwrap();
    assert_eq!((found.uid(), found.gid()), (7, 8));
}

#[test]
fn files_of_the_container_are_not_waited_for() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    e.run(&["exec", "c1", "sh", "-c", "rm /etc/passwd /etc/group; mkfifo /etc/passwd /etc/group"]).ok();
    assert_eq!(e.run(&["exec", "c1", "sh", "-c", "echo $HOME"]).ok(), "/");
    assert_ne!(e.run(&["exec", "-u", "web", "c1", "true"]).code, 0);
    e.run(&["stop", "-t", "0", "c1"]).ok();
    e.run(&["start", "c1"]).ok();
    e.run(&["rm", "-f", "c1"]).ok();
    let long = "a".repeat(100_000);
    assert_eq!(e.run(&["run", "--rm", "busybox", &long]).code, 127);
    let path = e.run(&["run", "--rm", "busybox", &format!("/{long}")]);
    assert!(path.code == 125 && path.err.contains("too long"), "{} {}", path.code, path.err);
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

/// A container's environment holds secrets, and a program with set-user-id in a volume is root's for whoever runs it.
#[test]
fn other_users_of_the_host_see_nothing() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let Some(e) = Engine::start() else { return };
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(e.path(""), open).unwrap();
    let script = "cp /bin/busybox /v/id; chmod 4755 /v/id; sleep 100";
    let id = e.run(&["run", "-d", "-e", "SECRET=x", "-v", "vol:/v", "busybox", "sh", "-c", script]).ok();
    let program = e.path("data/volumes/volumes/vol/_data/id");
    wharf_e2e::eventually("the program is there", || {
        program.metadata().is_ok_and(|m| m.permissions().mode() & 0o4000 != 0)
    });
    let as_nobody = |program: &std::path::Path, file: &std::path::Path| {
        std::process::Command::new(program)
            .arg(file)
            .uid(65534)
            .gid(65534)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let launch = e.path(&format!("exec/containers/{id}/launch.json"));
    let records = ["state.db", "state.db-wal", "state.db.copy", "state.db.reserve"];
    for file in &[vec![launch], records.map(|name| e.path("data").join(name)).to_vec()].concat() {
        assert!(file.exists(), "{}", file.display());
        assert!(!as_nobody("/bin/cat".as_ref(), file), "{}", file.display());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o77, 0, "{}", file.display());
    }
    assert!(!as_nobody(&program, "-u".as_ref()));
}
