//! `kill -9` of the engine: containers, logs, ports and exit codes go on.

use wharf_e2e::{Engine, eventually, get};

#[test]
fn a_chatty_container_loses_no_line_and_no_exit_code() {
    let Some(mut e) = Engine::start() else { return };
    let script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 5000; done; exit 9";
    e.run(&["run", "-d", "--name", "c1", "busybox", "sh", "-c", script]).ok();
    for _ in 0..3 {
        e.kill();
        e.launch();
    }
    assert_eq!(e.run(&["wait", "c1"]).ok(), "9");
    let expected: String = (0..400).map(|n| format!("line {n}\n")).collect();
    assert_eq!(e.run(&["logs", "c1"]).out, expected);
}

#[test]
fn an_exit_while_the_engine_is_dead_is_known_later() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&[
        "run",
        "-d",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "while [ ! -e /go ]; do usleep 10000; done; exit 6",
    ])
    .ok();
    let pid = e.run(&["inspect", "--format", "{{.State.Pid}}", "c1"]).ok();
    e.kill();
    std::fs::write(format!("/proc/{pid}/root/go"), "").unwrap();
    eventually("its end", || !std::path::Path::new(&format!("/proc/{pid}/root/go")).exists());
    e.launch();
    assert_eq!(
        e.run(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "c1"]).ok(),
        "exited 6"
    );
}

#[test]
fn what_ended_while_the_engine_was_dead_is_told_and_started_again() {
    let Some(mut e) = Engine::start() else { return };
    let go = e.path("go");
    std::fs::create_dir(&go).unwrap();
    let (volume, script) =
        (format!("{}:/go", go.display()), "while [ ! -e /go/on ]; do usleep 10000; done; exit 6");
    let run = |name, flags: &[&str]| {
        let all =
            [&["run", "-d", "--name", name, "-v", &volume][..], flags, &["busybox", "sh", "-c", script]];
        e.run(&all.concat()).ok();
        e.run(&["inspect", "--format", "{{.State.Pid}}", name]).ok()
    };
    let pids = [run("fails", &["--restart", "on-failure:1"]), run("goes", &["--rm"]), run("ends", &[])];
    e.kill();
    std::fs::write(go.join("on"), "").unwrap();
    let is_there = |pid: &String| std::path::Path::new(&format!("/proc/{pid}/root/go")).exists();
    eventually("their ends", || !pids.iter().any(is_there));
    e.launch();
    assert_eq!(e.run(&["wait", "fails"]).ok(), "6");
    let events = |name: &str| {
        let filters = ["--filter", &format!("container={name}"), "--filter", "type=container"];
        let format = ["--format", "{{.Action}}{{with index .Actor.Attributes \"exitCode\"}} {{.}}{{end}}"];
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let span = ["events", "--since", "10m", "--until", until.as_str()];
        e.run(&[&span[..], &filters, &format].concat()).ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(events("ends"), ["die 6"]);
    assert_eq!(events("goes"), ["die 6", "destroy"]);
    // Once by what happened meanwhile, and once more as its policy allows.
    eventually("its last end", || events("fails") == ["die 6", "start", "die 6", "start", "die 6"]);
}

#[test]
fn ports_and_execs_go_on() {
    let Some(mut e) = Engine::start() else { return };
    let serve = "mkdir /w; echo page > /w/index.html; httpd -f -h /w";
    e.run(&["run", "-d", "--name", "web", "-p", "80", "busybox", "sh", "-c", serve]).ok();
    let port = e.run(&["port", "web", "80"]).ok();
    let address = format!("127.0.0.1:{}", port.lines().next().unwrap().rsplit(':').next().unwrap());
    eventually("the page", || get(&address).is_some());
    e.kill();
    assert_eq!(get(&address).as_deref(), Some("page\n"), "while the engine is dead");
    e.launch();
    assert_eq!(get(&address).as_deref(), Some("page\n"), "with a new engine");
    assert_eq!(e.run(&["exec", "web", "cat", "/w/index.html"]).ok(), "page");
    e.run(&["stop", "-t", "0", "web"]).ok();
    e.run(&["start", "web"]).ok();
    e.run(&["rm", "-f", "web"]).ok();
}

/// Rounds of a kill at a random moment; more with `WHARF_KILL_ROUNDS`.
#[test]
fn killed_at_random_moments_nothing_is_lost_or_left() {
    let Some(mut e) = Engine::start() else { return };
    let rounds = std::env::var("WHARF_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10u32);
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    e.run(&[
        "run",
        "-d",
        "--name",
        "steady",
        "busybox",
        "sh",
        "-c",
        "i=0; while true; do echo $i; i=$((i+1)); usleep 20000; done",
    ])
    .ok();
    for round in 0..rounds {
        let mut busy: Vec<_> = (0..3)
            .map(|n| {
                let name = format!("r{round}-{n}");
                let script = format!("echo hello {n}; usleep {}", n * 7000);
                e.wharf()
                    .args(["run", "--name", &name, "busybox", "sh", "-c", &script])
                    .stdin(std::process::Stdio::null())
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        // A moment anywhere in the starts: the clock's last digits are random enough.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
        std::thread::sleep(std::time::Duration::from_micros(u64::from(now / 1000 % 120_000)));
        e.kill();
        for client in &mut busy {
            client.wait().unwrap();
        }
        e.launch();
        assert_eq!(e.run(&["inspect", "--format", "{{.State.Status}}", "steady"]).ok(), "running");
    }
    let numbers: Vec<u32> = e.run(&["logs", "steady"]).out.lines().map(|l| l.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "a line is lost or doubled");
    for line in e.run(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().lines() {
        assert!(!line.ends_with("removing"), "{line}");
    }
    let ids = e.run(&["ps", "-aq"]).ok();
    for id in ids.lines() {
        e.run(&["rm", "-f", id]).ok();
    }
    e.back_to(&before);
}
