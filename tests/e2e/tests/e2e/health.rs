//! Health checks.

use wharf_e2e::{Engine, eventually};

fn state(e: &Engine, name: &str, what: &str) -> String {
    e.run(&["inspect", "--format", &format!("{{{{.State.{what}}}}}"), name]).ok()
}

/// A container whose check is whether `/ok` is there.
fn start(e: &Engine, name: &str, flags: &[&str]) {
    let check = ["--health-cmd", "echo looked; test -e /ok", "--health-interval", "50ms"];
    let image = ["busybox", "sleep", "1000"];
    e.run(&[&["run", "-d", "--name", name][..], &check, flags, &image].concat()).ok();
}

#[test]
fn health_follows_the_check() {
    let Some(e) = Engine::start() else { return };
    start(&e, "c1", &["--health-retries", "2", "--health-start-period", "1ms"]);
    eventually("two failures", || state(&e, "c1", "Health.Status") == "unhealthy");
    assert!(state(&e, "c1", "Health.FailingStreak").parse::<u32>().unwrap() >= 2);
    assert!(e.run(&["ps"]).ok().contains("(unhealthy)"));
    e.run(&["exec", "c1", "touch", "/ok"]).ok();
    eventually("a success", || state(&e, "c1", "Health.Status") == "healthy");
    assert_eq!(state(&e, "c1", "Health.FailingStreak"), "0");
    eventually("five results", || {
        e.run(&["inspect", "--format", "{{len .State.Health.Log}}", "c1"]).ok() == "5"
    });
    let last = e.run(&["inspect", "--format", "{{json (index .State.Health.Log 4)}}", "c1"]).ok();
    assert!(last.contains(r#""ExitCode":0"#) && last.contains("looked"), "{last}");
    assert_eq!(e.run(&["ps", "-q", "--filter", "health=healthy"]).ok().lines().count(), 1);
    assert_eq!(e.run(&["ps", "-q", "--filter", "health=unhealthy"]).ok(), "");
    assert!(e.run(&["ps"]).ok().contains("(healthy)"));
    // `--until` counts in whole seconds.
    eventually("the events", || {
        let events = e.run(&["events", "--since", "1h", "--until", "0s", "--filter", "container=c1"]).ok();
        [
            "health_status: unhealthy",
            "health_status: healthy",
            "exec_create: /bin/sh",
            "exec_start: ",
            "exec_die",
        ]
        .iter()
        .all(|word| events.contains(word))
    });
    e.run(&["pause", "c1"]).ok();
    e.run(&["unpause", "c1"]).ok();
    e.run(&["exec", "c1", "rm", "/ok"]).ok();
    eventually("failures after the pause", || state(&e, "c1", "Health.Status") == "unhealthy");
    e.run(&["stop", "-t", "0", "c1"]).ok();
    assert_eq!(state(&e, "c1", "Health.Status"), "unhealthy");
}

#[test]
fn a_check_that_takes_too_long_is_killed() {
    let Some(e) = Engine::start() else { return };
    let check = ["--health-cmd", "echo begun; exec sleep 987", "--health-interval", "50ms"];
    let limits = ["--health-timeout", "200ms", "--health-retries", "1"];
    e.run(&[&["run", "-d", "--name", "c1"][..], &check, &limits, &["busybox", "sleep", "1000"]].concat())
        .ok();
    eventually("the timeout", || state(&e, "c1", "Health.Status") == "unhealthy");
    let first = e.run(&["inspect", "--format", "{{json (index .State.Health.Log 0)}}", "c1"]).ok();
    assert!(first.contains(r#""ExitCode":-1"#), "{first}");
    assert!(first.contains("Health check exceeded timeout (200ms): begun"), "{first}");
    let running = || e.run(&["top", "c1"]).ok().lines().filter(|l| l.contains("sleep 987")).count();
    eventually("more results", || {
        e.run(&["inspect", "--format", "{{len .State.Health.Log}}", "c1"]).ok() == "5"
    });
    assert!(running() <= 1);
}

#[test]
fn checks_go_on_under_the_next_engine() {
    let Some(mut e) = Engine::start() else { return };
    start(&e, "c1", &[]);
    eventually("failures", || state(&e, "c1", "Health.Status") == "unhealthy");
    e.kill();
    e.launch();
    assert_eq!(state(&e, "c1", "Health.Status"), "unhealthy");
    e.run(&["exec", "c1", "touch", "/ok"]).ok();
    eventually("a success", || state(&e, "c1", "Health.Status") == "healthy");
}

#[test]
fn waiting_for_health() {
    let Some(e) = Engine::start() else { return };
    let check = ["--health-interval", "50ms", "--health-retries", "2"];
    let run = ["run", "-d", "--wait", "--name"];
    e.run(&[&run[..], &["good"], &check, &["--health-cmd", "true", "busybox", "sleep", "1000"]].concat())
        .ok();
    assert_eq!(state(&e, "good", "Health.Status"), "healthy");
    let bad =
        e.run(&[&run[..], &["bad"], &check, &["--health-cmd", "false", "busybox", "sleep", "1000"]].concat());
    assert!(bad.code == 1 && bad.err.contains("container bad is unhealthy"), "{} {}", bad.code, bad.err);
    let ended =
        e.run(&[&run[..], &["ended"], &check, &["--health-cmd", "true", "busybox", "false"]].concat());
    assert!(ended.code == 1 && ended.err.contains("container ended exited (1)"), "{}", ended.err);
    let slow = ["--health-cmd", "true", "--health-interval", "1h"];
    let late =
        e.run(&[&run[..], &["late", "--wait-timeout", "1"], &slow, &["busybox", "sleep", "1000"]].concat());
    assert!(late.code == 1 && late.err.contains("not healthy within 1 s"), "{}", late.err);
    e.run(&[&run[..], &["plain", "busybox", "sleep", "1000"]].concat()).ok();
    e.run(&["stop", "-t", "0", "good"]).ok();
    e.run(&["start", "--wait", "good"]).ok();
    assert_eq!(state(&e, "good", "Health.Status"), "healthy");
    assert_eq!(e.run(&["run", "--wait", "busybox", "true"]).code, 125);
}

#[test]
fn unhealthy_containers_are_acted_on() {
    let Some(e) = Engine::start() else { return };
    start(&e, "again", &["--health-on-failure", "restart", "-t", "--stop-signal", "KILL"]);
    eventually("two restarts", || {
        e.run(&["inspect", "--format", "{{.RestartCount}}", "again"]).ok().parse::<u32>().unwrap() >= 2
    });
    start(&e, "kill", &["--label", "wharf.health-on-failure=kill"]);
    eventually("the kill", || state(&e, "kill", "Status") == "exited");
    assert_eq!(state(&e, "kill", "ExitCode"), "137");
    start(&e, "stop", &["--health-on-failure", "stop", "--restart", "always", "--stop-signal", "KILL"]);
    eventually("the stop", || state(&e, "stop", "Status") == "exited");
    let refused = e.run(&["run", "-d", "--label", "wharf.health-on-failure=panic", "busybox", "true"]);
    assert!(refused.err.contains("expected none, kill, restart or stop"), "{}", refused.err);
}

#[test]
fn images_have_checks() {
    let Some(e) = Engine::start() else { return };
    let context = e.path("context");
    std::fs::create_dir_all(&context).unwrap();
    let text = "FROM busybox\nHEALTHCHECK --interval=50ms --retries=1 CMD test -e /ok\nCMD sleep 1000\n";
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    e.run(&["build", "-t", "checked", &context.display().to_string()]).ok();
    e.run(&["run", "-d", "--name", "c1", "checked"]).ok();
    eventually("a failure", || state(&e, "c1", "Health.Status") == "unhealthy");
    let shown = e.run(&["inspect", "--format", "{{json .Config.Healthcheck}}", "c1"]).ok();
    assert!(shown.contains(r#""Test":["CMD-SHELL","test -e /ok"]"#), "{shown}");
    e.run(&["run", "-d", "--name", "c2", "--no-healthcheck", "checked"]).ok();
    assert!(!e.run(&["inspect", "--format", "{{json .State}}", "c2"]).ok().contains("Health"));
    e.run(&["run", "-d", "--name", "c3", "--health-cmd", "true", "checked"]).ok();
    eventually("a success", || state(&e, "c3", "Health.Status") == "healthy");
}
