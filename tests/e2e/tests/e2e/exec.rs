//! `exec`, `top`, `stats`, `inspect`.

use wharf_e2e::Engine;

#[test]
fn exec_runs_in_the_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "-e", "A=b", "--hostname", "h", "busybox", "sleep", "1000"]).ok();
    assert_eq!(e.run(&["exec", "c1", "sh", "-c", "hostname; echo $A; id -u"]).ok(), "h\nb\n0");
    assert_eq!(
        e.run(&["exec", "-u", "web", "-w", "/tmp", "-e", "A=c", "c1", "sh", "-c", "id -un; pwd; echo $A"])
            .ok(),
        "web\n/tmp\nc"
    );
    assert_eq!(e.run_with(&["exec", "-i", "c1", "cat"], "through").ok(), "through");
    assert_eq!(e.run(&["exec", "c1", "sh", "-c", "exit 5"]).code, 5);
    assert_eq!(e.run(&["exec", "c1", "nope"]).code, 127);
    let done = e.run(&["exec", "c1", "sh", "-c", "seq 1 100000"]);
    assert_eq!(done.ok().lines().count(), 100_000);
    for _ in 0..20 {
        assert_eq!(e.run(&["exec", "c1", "echo", "x"]).ok(), "x");
    }
    assert_eq!(e.run(&["inspect", "--format", "{{.State.Status}}", "c1"]).ok(), "running");
}

#[test]
fn a_user_that_is_not_there_is_refused_at_once() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    for (user, why) in [
        ("nobodyhere", "unable to find user nobodyhere: no matching entries in passwd file"),
        ("nobodyhere:x", "unable to find user nobodyhere: no matching entries in passwd file"),
        ("root:x", "unable to find group x: no matching entries in group file"),
        ("99999999999", "uids and gids must be in range 0-2147483647"),
        ("1:2:3", "unable to find group 2:3: no matching entries in group file"),
    ] {
        let body = format!(r#"{{"Cmd": ["true"], "User": {user:?}}}"#);
        let answer = e.ask("POST", "/v1.47/containers/c1/exec", &body);
        assert_eq!(answer, (400, serde_json::json!({"message": why}).to_string()), "{user}");
        for flags in [&["exec"][..], &["exec", "-d"]] {
            let done = e.run(&[flags, &["-u", user, "c1", "true"]].concat());
            assert!(
                done.code == 1 && done.err.contains(&format!("Error response from daemon: {why}")),
                "{}",
                done.err
            );
        }
    }
    assert_eq!(e.run(&["inspect", "-f", "{{json .ExecIDs}}", "c1"]).ok(), "null");
}

#[test]
fn exec_needs_a_running_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["create", "--name", "c1", "busybox", "true"]).ok();
    let done = e.run(&["exec", "c1", "true"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("is not running"), "{}", done.err);
}

#[test]
fn watching() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    assert!(e.run(&["top", "c1"]).ok().contains("sleep 1000"));
    let stats = e.run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "c1"]).ok();
    assert_eq!(stats, "c1 1");
    assert_eq!(e.run(&["ps", "--format", "{{.Names}}: {{.State}}"]).ok(), "c1: running");
    let inspect: serde_json::Value = serde_json::from_str(&e.run(&["inspect", "c1"]).ok()).unwrap();
    assert_eq!(inspect[0]["Name"], "/c1");
    assert_eq!(inspect[0]["Config"]["Image"], "busybox");
}

#[test]
fn looking_into_a_running_container_leaves_its_files_as_they_are() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    // The user's name is looked up in the container's own files: it is one that was added there.
    e.run(&["exec", "c1", "sh", "-c", "echo late:x:44:44::/:/bin/sh >> /etc/passwd; rm /root -r"]).ok();
    assert_eq!(e.run(&["exec", "-u", "late", "c1", "id", "-u"]).ok(), "44");
    e.run(&["cp", "c1:/etc/passwd", &e.path("copy").display().to_string()]).ok();
    assert!(std::fs::read_to_string(e.path("copy")).unwrap().contains("late"));
    assert_ne!(e.run(&["cp", "c1:/root", &e.path("root").display().to_string()]).code, 0, "it was removed");
    // Copying up and removing need overlayfs's scratch directory.
    e.run(&["exec", "c1", "sh", "-c", "echo more >> /etc/group && rm /etc/passwd && mkdir /home/new"]).ok();
    assert_eq!(e.run(&["exec", "c1", "sh", "-c", "tail -n1 /etc/group; ls /home"]).ok(), "more\nnew");
}

#[test]
fn what_cannot_be_run_is_told_as_by_docker() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-dt", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    assert_eq!(e.run(&["exec", "-w", "/nosuch", "c1", "pwd"]).code, 127);
    assert!(!e.run(&["exec", "c1", "env"]).ok().contains("TERM="), "without a terminal of its own");
    e.run(&["pause", "c1"]).ok();
    let done = e.run(&["exec", "c1", "true"]);
    assert!(done.err.contains("Container c1 is paused, unpause the container before exec"), "{}", done.err);
    e.run(&["unpause", "c1"]).ok();
    e.run(&["run", "-d", "--name", "c2", "--restart", "always", "busybox", "false"]).ok();
    wharf_e2e::eventually("a pause between two starts", || {
        e.run(&["exec", "c2", "true"]).err.contains("is restarting, wait until the container is running")
    });
    let done = e.run(&["rename", "c2", "c1"]);
    let holder = e.run(&["inspect", "-f", "{{.Id}}", "c1"]).ok();
    assert!(done.err.contains(&format!("already in use by container \"{holder}\"")), "{}", done.err);
}
