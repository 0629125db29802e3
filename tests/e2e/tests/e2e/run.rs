//! `run`: exit codes, streams, limits, mounts, users.

use wharf_e2e::Engine;

#[test]
fn exit_codes_are_dockers() {
    let Some(e) = Engine::start() else { return };
    for (args, code) in [
        (&["busybox", "true"][..], 0),
        (&["busybox", "sh", "-c", "exit 7"], 7),
        (&["--init", "busybox", "sh", "-c", "kill -9 $$"], 137),
        (&["busybox", "no-such-program"], 127),
        (&["busybox", "/etc"], 126),
        (&["busybox", "/etc/passwd"], 126),
        (&["-v", "relative:/x:purple", "busybox", "true"], 125),
        (&["-w", "/etc/passwd", "busybox", "true"], 125),
        (&["-v", "/etc/hostname:/etc", "busybox", "true"], 125),
    ] {
        let done = e.run(&[&["run", "--rm"], args].concat());
        assert_eq!(done.code, code, "{args:?}: {}{}", done.out, done.err);
    }
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn errors_name_what_and_why() {
    let Some(e) = Engine::start() else { return };
    for (args, word) in [
        (&["run", "--rm", "busybox", "nope"][..], "executable file not found in $PATH"),
        (&["run", "--nosuchflag", "busybox"], "unknown flag: --nosuchflag"),
        (&["run", "-m", "1k", "busybox", "true"], "Minimum memory limit"),
        (&["run", "--network", "nowhere", "busybox", "true"], "network nowhere not found"),
        (&["run", "--name", "a b", "busybox", "true"], "Invalid container name"),
        (&["run", "--mount", "type=bind,src=/no/such/path,dst=/x", "busybox", "true"], "does not exist"),
        (&["start", "nothing"], "No such container: nothing"),
        (
            &["run", "--rm", "-v", "/etc:/etc/passwd", "busybox", "true"],
            "a directory onto a file (or vice-versa)?",
        ),
        (&["run", "--rm", "-v", "/etc/hostname:/etc", "busybox", "true"], "a directory onto a file"),
        (&["run", "--rm", "-w", "/etc/passwd", "busybox", "true"], "/etc/passwd is not a directory"),
        (
            &["run", "--network", "none", "--network", "n", "busybox"],
            "both user-defined and non-user-defined",
        ),
        (&["rmi", "nothing"], "nothing"),
        (&["nosuchcommand"], "nosuchcommand"),
    ] {
        let done = e.run(args);
        assert_ne!(done.code, 0, "{args:?}");
        assert!(done.err.contains(word), "{args:?}: {}", done.err);
    }
}

#[test]
fn streams_stay_apart_and_stdin_arrives() {
    let Some(e) = Engine::start() else { return };
    let done = e.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("out\n", "err\n"));
    let input = "line\n".repeat(50_000);
    let done = e.run_with(&["run", "--rm", "-i", "busybox", "wc", "-l"], &input);
    assert_eq!(done.ok(), "50000");
    let done = e.run(&["run", "--rm", "busybox", "sh", "-c", "seq 1 200000"]);
    assert_eq!(done.ok().lines().count(), 200_000);
}

#[test]
fn environment_user_and_directory() {
    let Some(e) = Engine::start() else { return };
    let sh = |flags: &[&str], script: &str| {
        e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat()).ok()
    };
    assert_eq!(sh(&["-e", "A=b"], "echo $A"), "b");
    assert_eq!(sh(&["-u", "1000:1001"], "id -u; id -g"), "1000\n1001");
    assert_eq!(sh(&["-u", "web"], "id -un; id -G; echo $HOME"), "web\n33 50\n/srv");
    assert_eq!(sh(&["-w", "/made/for/it"], "pwd"), "/made/for/it");
    assert_eq!(sh(&["--hostname", "h"], "hostname"), "h");
    assert_eq!(sh(&["--init"], "cat /proc/1/comm"), "wharf-init");
    assert_eq!(sh(&["--init", "-t"], "echo $(tty)").trim(), "/dev/pts/0", "the terminal is the program's");
    assert_eq!(sh(&["--entrypoint", "echo"], "x"), "sh -c x");
}

#[test]
fn mounts_are_made_as_asked() {
    let Some(e) = Engine::start() else { return };
    std::fs::create_dir(e.path("host")).unwrap();
    std::fs::write(e.path("host/file"), "from the host").unwrap();
    let bind = format!("{}:/c:ro", e.path("host").display());
    let sh = |flags: &[&str], script: &str| {
        e.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    assert_eq!(
        sh(&["-v", &bind], "cat /c/file; touch /c/x 2>/dev/null || echo refused").ok(),
        "from the hostrefused"
    );
    assert_eq!(
        sh(&["--tmpfs", "/t:size=1m"], "touch /t/x && grep ' /t ' /proc/mounts | cut -d' ' -f1").ok(),
        "tmpfs"
    );
    assert_eq!(
        sh(&["--read-only", "--tmpfs", "/t"], "touch /t/x && echo yes; touch /x 2>/dev/null || echo no").ok(),
        "yes\nno"
    );
    sh(&["-v", "data:/d"], "echo kept > /d/f").ok();
    assert_eq!(sh(&["-v", "data:/d"], "cat /d/f").ok(), "kept");
    assert_eq!(
        sh(&["-v", "etc:/etc"], "ls /etc/passwd").ok(),
        "/etc/passwd",
        "an empty volume gets the image's files"
    );
    e.run(&["volume", "rm", "data", "etc"]).ok();
}

#[test]
fn limits_reach_the_kernel() {
    let Some(e) = Engine::start() else { return };
    let script = "cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes; \
                  cat cpu.max 2>/dev/null || echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us); \
                  cat pids.max 2>/dev/null || cat pids/pids.max";
    let args =
        ["run", "--rm", "-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "busybox", "sh", "-c", script];
    assert_eq!(e.run(&args).ok(), "67108864\n50000 100000\n20");
    let done = e.run(&["run", "--name", "eater", "-m", "16m", "busybox", "sh", "-c", "tail /dev/zero"]);
    assert_eq!(done.code, 137, "{}", done.err);
    assert_eq!(e.run(&["inspect", "--format", "{{.State.OOMKilled}}", "eater"]).ok(), "true");
}

#[test]
fn life_and_death() {
    let Some(e) = Engine::start() else { return };
    let status = || e.run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c1"]).ok();
    e.run(&["create", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    assert_eq!(status(), "created 0");
    e.run(&["start", "c1"]).ok();
    assert_eq!(status(), "running 0");
    e.run(&["pause", "c1"]).ok();
    assert_eq!(status(), "paused 0");
    e.run(&["unpause", "c1"]).ok();
    e.run(&["restart", "-t", "0", "c1"]).ok();
    e.run(&["kill", "c1"]).ok();
    e.run(&["wait", "c1"]).ok();
    assert_eq!(status(), "exited 137");
    e.run(&["rename", "c1", "d1"]).ok();
    assert!(e.run(&["run", "--name", "d1", "busybox", "true"]).err.contains("already in use"));
    e.run(&["rm", "d1"]).ok();
    assert_ne!(e.run(&["container", "inspect", "d1"]).code, 0);
}

#[test]
fn restart_policies_start_again() {
    let Some(e) = Engine::start() else { return };
    e.run(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo run; exit 3",
    ])
    .ok();
    wharf_e2e::eventually("three runs", || e.run(&["logs", "c1"]).ok().lines().count() == 3);
    wharf_e2e::eventually("the end", || {
        e.run(&["inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "c1"]).ok() == "exited 2"
    });
}

#[test]
fn logs_follow_and_filter() {
    let Some(e) = Engine::start() else { return };
    e.run(&[
        "run",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2",
    ])
    .ok();
    assert_eq!(e.run(&["logs", "c1"]).out.lines().count(), 5);
    assert_eq!(e.run(&["logs", "c1"]).err, "bad\n");
    assert_eq!(e.run(&["logs", "--tail", "2", "c1"]).out.trim(), "line 5");
    assert!(e.run(&["logs", "-t", "c1"]).out.starts_with("20"));
    e.run(&[
        "run",
        "-d",
        "--name",
        "d1",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; usleep 100000; done",
    ])
    .ok();
    assert_eq!(e.run(&["logs", "-f", "d1"]).out, "1\n2\n3\n");
}

#[test]
fn programs_that_end_at_once_are_seen_to_end() {
    let Some(e) = Engine::start() else { return };
    // Several at a time: the monitor then often learns of the start and of the end together.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    e.run(&["run", "--rm", "--network", "none", "busybox", "true"]).ok();
                }
            });
        }
    });
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn flags_are_read_as_dockers() {
    let Some(e) = Engine::start() else { return };
    // The same twice is no conflict, and a value may begin with a dash.
    let twice =
        ["run", "--rm", "--rm", "-i", "-i", "-v", "v1:/m", "-v", "v1:/m", "--name", "x1", "--name", "c1"];
    assert_eq!(e.run(&[&twice[..], &["busybox", "echo", "hi"]].concat()).ok(), "hi");
    e.run(&["run", "-d", "--name", "c1", "-e", "-x=y", "busybox", "sh", "-c", "echo one; exec sleep 1000"])
        .ok();
    assert_eq!(e.run(&["logs", "--tail", "-1", "c1"]).ok(), "one");
    assert_eq!(e.run(&["logs", "--tail", "1", "-n", "0", "c1"]).ok(), "");
    // Who asks for a container in the background is told its id, even if it does not start.
    let done = e.run(&["run", "-d", "busybox", "nope"]);
    assert_eq!((done.code, done.out.trim().len()), (127, 64), "{}", done.err);
    let done = e.run(&["--context", "nosuch", "ps"]);
    assert!(done.err.contains("nosuch"), "a context counts more than the environment: {}", done.err);
    let done = e.run(&["ps", "-q", "--format", "x"]);
    assert!(done.err.starts_with("WARNING: Ignoring custom format"), "{}", done.err);
    assert_eq!(done.out.trim().len(), 12);
}

#[test]
fn a_read_only_root_has_read_only_files() {
    let Some(e) = Engine::start() else { return };
    let script = "for f in hosts hostname resolv.conf; do echo x > /etc/$f && echo $f; done; true";
    assert_eq!(e.run(&["run", "--rm", "--read-only", "busybox", "sh", "-c", script]).ok(), "");
    assert_eq!(e.run(&["run", "--rm", "busybox", "sh", "-c", script]).ok(), "hosts\nhostname\nresolv.conf");
}
