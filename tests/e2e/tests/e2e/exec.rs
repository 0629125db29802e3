//! `exec`, `top`, `stats`, `inspect`.

use wharf_e2e::Engine;

#[test]
fn exec_runs_in_the_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c", "-e", "A=b", "--hostname", "h", "busybox", "sleep", "1000"]).ok();
    assert_eq!(e.run(&["exec", "c", "sh", "-c", "hostname; echo $A; id -u"]).ok(), "h\nb\n0");
    assert_eq!(
        e.run(&["exec", "-u", "web", "-w", "/tmp", "-e", "A=c", "c", "sh", "-c", "id -un; pwd; echo $A"])
            .ok(),
        "web\n/tmp\nc"
    );
    assert_eq!(e.run_with(&["exec", "-i", "c", "cat"], "through").ok(), "through");
    assert_eq!(e.run(&["exec", "c", "sh", "-c", "exit 5"]).code, 5);
    assert_eq!(e.run(&["exec", "c", "nope"]).code, 127);
    let done = e.run(&["exec", "c", "sh", "-c", "seq 1 100000"]);
    assert_eq!(done.ok().lines().count(), 100_000);
    for _ in 0..20 {
        assert_eq!(e.run(&["exec", "c", "echo", "x"]).ok(), "x");
    }
    assert_eq!(e.run(&["inspect", "--format", "{{.State.Status}}", "c"]).ok(), "running");
}

#[test]
fn exec_needs_a_running_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["create", "--name", "c", "busybox", "true"]).ok();
    let done = e.run(&["exec", "c", "true"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("is not running"), "{}", done.err);
}

#[test]
fn watching() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"]).ok();
    assert!(e.run(&["top", "c"]).ok().contains("sleep 1000"));
    let stats = e.run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "c"]).ok();
    assert_eq!(stats, "c 1");
    assert_eq!(e.run(&["ps", "--format", "{{.Names}}: {{.State}}"]).ok(), "c: running");
    let inspect: serde_json::Value = serde_json::from_str(&e.run(&["inspect", "c"]).ok()).unwrap();
    assert_eq!(inspect[0]["Name"], "/c");
    assert_eq!(inspect[0]["Config"]["Image"], "busybox");
}
