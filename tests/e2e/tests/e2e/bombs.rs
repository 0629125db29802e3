//! Containers that take all they can get: the limits hold, and the engine and its other containers do not notice.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use wharf_e2e::{Engine, Holdings, eventually};

fn started() -> Option<(Engine, Holdings)> {
    let e = Engine::start()?;
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    Some((e, before))
}

/// Others are served as ever: each of these answers within the tests' limit of a command.
fn is_responsive(e: &Engine) {
    e.run(&["ps"]).ok();
    assert_eq!(e.run(&["run", "--rm", "busybox", "echo", "fine"]).ok(), "fine");
}

/// Kilobytes that a process holds.
fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const STATE: &str = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}";

#[test]
fn forks_without_end() {
    let Some((e, before)) = started() else { return };
    e.run(&["run", "-d", "--name", "bomb", "--pids-limit", "60", "busybox", "sleep", "1000"]).ok();
    // The shell gives up when there is no process more; its children stay.
    let bomb = ["exec", "bomb", "sh", "-c", "while true; do sleep 1000 >/dev/null 2>&1 & done"];
    let done = e.run(&bomb);
    assert!(done.code != 0 && done.err.contains("can't fork"), "{} {}", done.code, done.err);
    let processes = e.run(&["top", "bomb"]).ok().lines().count() - 1;
    assert!((50..=60).contains(&processes), "{processes} processes");
    assert_ne!(e.run(&bomb).code, 0);
    is_responsive(&e);
    assert_eq!(e.run(&["inspect", "--format", STATE, "bomb"]).ok(), "running 0 false");
    e.run(&["rm", "-f", "bomb"]).ok();
    e.back_to(&before);
}

#[test]
fn memory_without_end() {
    let Some((e, before)) = started() else { return };
    let limits = ["--memory", "32m", "--memory-swap", "32m"];
    let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"];
    e.run(&[&["run", "--name", "hog"][..], &limits, &["busybox"], &hog].concat());
    assert_eq!(e.run(&["inspect", "--format", STATE, "hog"]).ok(), "exited 137 true");
    // A process beside the first one is killed alone.
    e.run(&[&["run", "-d", "--name", "host"][..], &limits, &["busybox", "sleep", "1000"]].concat()).ok();
    assert_eq!(e.run(&[&["exec", "host"][..], &hog].concat()).code, 137);
    assert!(e.run(&["inspect", "--format", STATE, "host"]).ok().starts_with("running"));
    // So are files in memory.
    let fill = "dd if=/dev/zero of=/dev/shm/f bs=1M count=100; echo $?";
    assert_ne!(e.run(&["exec", "host", "sh", "-c", fill]).out.trim(), "0");
    is_responsive(&e);
    e.run(&["rm", "-f", "hog", "host"]).ok();
    e.back_to(&before);
}

#[test]
fn files_in_memory_have_their_size() {
    let Some((e, before)) = started() else { return };
    let sizes = ["--shm-size", "1m", "--tmpfs", "/t:size=1m"];
    let script = "for f in /dev/shm/f /t/f; do dd if=/dev/zero of=$f bs=64k count=100; wc -c < $f; done";
    let done = e.run(&[&["run", "--rm"][..], &sizes, &["busybox", "sh", "-c", script]].concat());
    assert_eq!(done.out, "1048576\n1048576\n", "{}", done.err);
    assert_eq!(done.err.matches("No space left on device").count(), 2, "{}", done.err);
    e.back_to(&before);
}

#[test]
fn output_without_end_has_its_bound() {
    let Some((e, before)) = started() else { return };
    let log = ["--log-opt", "max-size=64k", "--log-opt", "max-file=3"];
    let script = "dd if=/dev/zero bs=64k count=200 2>/dev/null | tr '\\0' x | fold -w 1000; echo; echo last";
    e.run(&[&["run", "-d", "--name", "loud"][..], &log, &["busybox", "sh", "-c", script]].concat()).ok();
    assert_eq!(e.run(&["wait", "loud"]).ok(), "0");
    let id = e.run(&["inspect", "--format", "{{.Id}}", "loud"]).ok();
    let files = e.files_below(&format!("data/containers/{id}"));
    let sizes: Vec<u64> = files.iter().map(|f| std::fs::metadata(f).unwrap().len()).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|s| *s <= 65536), "{files:?} {sizes:?}");
    assert!(e.run(&["logs", "loud"]).ok().ends_with("\nlast"));
    e.run(&["rm", "loud"]).ok();
    e.back_to(&before);
}

/// A client that attaches and never reads what comes.
fn deaf_client(e: &Engine, container: &str) -> UnixStream {
    let mut stream = UnixStream::connect(e.path("s.sock")).unwrap();
    let request = format!(
        "POST /containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, stream.try_clone().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("101"), "{line}");
    stream
}

#[test]
fn clients_that_never_read_cost_no_memory() {
    let Some((e, before)) = started() else { return };
    let script =
        "while [ ! -e /go ]; do usleep 10000; done; dd if=/dev/zero bs=64k count=400 2>/dev/null; echo end";
    e.run(&["run", "-d", "--name", "flood", "--log-driver", "none", "busybox", "sh", "-c", script]).ok();
    let monitor = e.monitor_of("flood").as_raw_nonzero().get().unsigned_abs();
    let clients: Vec<UnixStream> = (0..200).map(|_| deaf_client(&e, "flood")).collect();
    let engine_kb = resident_kb(e.pid());
    e.run(&["exec", "flood", "touch", "/go"]).ok();
    // What nobody reads is in the pipe then: the program waits in write(2).
    let pid = e.run(&["inspect", "--format", "{{.State.Pid}}", "flood"]).ok();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let written = || {
        let children = std::fs::read_to_string(&children).unwrap_or_default();
        let io = children
            .split_whitespace()
            .find_map(|c| std::fs::read_to_string(format!("/proc/{c}/io")).ok())?;
        io.lines().find_map(|l| l.strip_prefix("wchar: ")).and_then(|n| n.parse::<u64>().ok())
    };
    let (mut last, mut same) = (None, 0);
    eventually("the flood is held up", || {
        let now = written().filter(|n| *n > 0);
        same = if now.is_some() && now == last { same + 1 } else { 0 };
        last = now;
        same > 50
    });
    is_responsive(&e);
    let (monitor_kb, grown_kb) = (resident_kb(monitor), resident_kb(e.pid()).saturating_sub(engine_kb));
    assert!(monitor_kb < 48 << 10, "the monitor holds {monitor_kb} kB");
    assert!(grown_kb < 48 << 10, "the engine holds {grown_kb} kB more");
    drop(clients);
    assert_eq!(e.run(&["wait", "flood"]).ok(), "0");
    e.run(&["rm", "flood"]).ok();
    e.back_to(&before);
}
