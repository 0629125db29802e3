//! Records that are busy, damaged or gone: said, with the mend, and no running container is lost.

use std::os::unix::fs::FileExt;
use std::process::Command;
use wharf_e2e::{Engine, run_limited};

/// Starts an engine with a running and a stopped container, and ends the engine.
fn with_containers() -> Option<(Engine, String)> {
    let mut e = Engine::start()?;
    e.run(&["create", "--name", "idle", "-v", "vol:/vol", "busybox", "true"]).ok();
    e.kill();
    e.launch();
    e.run(&["network", "create", "own"]).ok();
    let run = ["run", "-d", "--name", "runs", "--network", "own", "-v", "vol:/vol", "-p", "80", "busybox"];
    let script = "echo up; trap 'exit 3' TERM; while true; do usleep 10000; done";
    e.run(&[&run[..], &["sh", "-c", script]].concat()).ok();
    let pid = e.run(&["inspect", "--format", "{{.State.Pid}}", "runs"]).ok();
    e.kill();
    Some((e, pid))
}

/// The engine refuses to start, and then starts with `--mend-records`; the running container is the same.
fn refuses_then_mends(e: &mut Engine, pid: &str) {
    let database = e.path("data/state.db").display().to_string();
    let before = std::fs::read(&database).unwrap_or_default();
    assert!(!e.try_launch(), "an engine runs on damaged records");
    let said = e.log();
    let line = said.lines().rev().find(|l| l.contains("ERROR")).unwrap_or_default();
    assert!(line.contains(&database) && line.contains("--mend-records"), "{said}");
    assert_eq!(std::fs::read(&database).unwrap_or_default(), before, "the damaged records were changed");
    e.add_flag("--mend-records");
    e.launch();
    assert_eq!(
        e.run(&["inspect", "--format", "{{.State.Status}} {{.State.Pid}}", "runs"]).ok(),
        format!("running {pid}")
    );
    assert_eq!(e.run(&["logs", "runs"]).ok(), "up");
    e.run(&["exec", "runs", "touch", "/vol/file"]).ok();
    e.run(&["stop", "runs"]).ok();
    assert_eq!(e.run(&["wait", "runs"]).ok(), "3");
    e.run(&["start", "runs"]).ok();
    e.run(&["rm", "-f", "runs"]).ok();
    // What was there at the last start is there.
    e.run(&["start", "idle"]).ok();
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    e.run(&["rm", "-f", "idle"]).ok();
    e.run(&["network", "rm", "own"]).ok();
}

#[test]
fn garbage_in_the_records() {
    let Some((mut e, pid)) = with_containers() else { return };
    let file = std::fs::OpenOptions::new().write(true).open(e.path("data/state.db")).unwrap();
    let length = file.metadata().unwrap().len();
    // All pages but the first, which tells what the file is.
    file.write_all_at(&vec![0xa5; (length - 4096) as usize], 4096).unwrap();
    // What is in the log would be laid over it.
    std::fs::remove_file(e.path("data/state.db-wal")).unwrap();
    refuses_then_mends(&mut e, &pid);
}

#[test]
fn records_that_are_no_records() {
    let Some((mut e, pid)) = with_containers() else { return };
    std::fs::write(
        e.path("data/state.db"),
        "no database at all, and long enough to be looked at".repeat(100),
    )
    .unwrap();
    std::fs::remove_file(e.path("data/state.db-wal")).unwrap();
    refuses_then_mends(&mut e, &pid);
}

#[test]
fn records_that_are_gone() {
    let Some((mut e, pid)) = with_containers() else { return };
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        std::fs::remove_file(e.path("data").join(name)).unwrap();
    }
    refuses_then_mends(&mut e, &pid);
}

#[test]
fn a_damaged_log_of_the_records_loses_no_running_container() {
    let Some((mut e, pid)) = with_containers() else { return };
    let file = std::fs::OpenOptions::new().write(true).open(e.path("data/state.db-wal")).unwrap();
    let length = file.metadata().unwrap().len();
    // SQLite ends at the first entry that is not whole, and says nothing: the container's record is behind it.
    file.write_all_at(&vec![0xa5; (length - 32 - 4096) as usize], 32 + 4096).unwrap();
    e.launch();
    for said in ["were damaged", "was lost and is taken from its run directory"] {
        assert!(e.log().contains(said), "{}", e.log());
    }
    assert_eq!(
        e.run(&["inspect", "--format", "{{.State.Status}} {{.State.Pid}}", "runs"]).ok(),
        format!("running {pid}")
    );
    assert_eq!(e.run(&["exec", "runs", "ls", "/vol"]).code, 0);
    e.run(&["stop", "runs"]).ok();
    e.run(&["start", "runs"]).ok();
    e.run(&["rm", "-f", "runs"]).ok();
    e.run(&["start", "idle"]).ok();
}

#[test]
fn records_that_somebody_holds_are_named() {
    let Some(e) = Engine::start() else { return };
    let holder = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\nc.execute('BEGIN IMMEDIATE')\nprint('held',flush=True)\nsys.stdin.read()\n";
    let database = e.path("data/state.db").display().to_string();
    let started = Command::new("python3")
        .args(["-c", holder, &database])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut python) = started else {
        println!("skipped: python3 is not there");
        return;
    };
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(python.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "held\n");
    let done = e.run(&["create", "--name", "late", "busybox", "true"]);
    drop(python.stdin.take());
    python.wait().unwrap();
    assert_ne!(done.code, 0);
    assert!(done.err.contains(&database) && done.err.contains("another program holds them"), "{}", done.err);
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
    e.run(&["run", "--rm", "--name", "late", "busybox", "true"]).ok();
}

#[test]
fn two_engines_on_one_data_root_are_refused() {
    let Some(e) = Engine::start() else { return };
    let mut second = Command::new(wharf_e2e::binary());
    second.args(["daemon", "-H"]).arg(format!("unix://{}", e.path("second.sock").display()));
    second.arg("--data-root").arg(e.path("data")).arg("--exec-root").arg(e.path("other"));
    let done = run_limited(&mut second, "");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("is in use by another daemon"), "{}", done.err);
    e.run(&["run", "--rm", "busybox", "true"]).ok();
}
