//! How `up` ends: by Ctrl-C, by a second one, and by a service that cannot be.

use crate::compose::{Client, Project, clients};
use std::time::{Duration, Instant};
use wharf_e2e::{Engine, Terminal};

#[test]
fn ctrl_c_stops_and_a_second_one_kills() {
    let Some(e) = Engine::start() else { return };
    // The first process of a container hears no signal that it has no handler for.
    let file = "services:\n  deaf: {image: busybox, command: sh -c 'echo here; exec sleep 1000', stop_grace_period: 300s}\n";
    let project = Project::new(&e, "deaf", file);
    let mut command = project.command(Client::Ours).unwrap();
    command.args(["-f", project.path("compose.yaml").to_str().unwrap(), "up"]);
    let mut terminal = Terminal::run(&command);
    terminal.expect("[+] Running");
    terminal.expect("here");
    terminal.press("\x03");
    terminal.expect("Gracefully Stopping... press Ctrl+C again to force");
    terminal.expect("Stopping");
    assert_eq!(project.shown("deaf-deaf-1", "{{.State.Running}}"), "true");
    let begun = Instant::now();
    terminal.press("\x03");
    let (code, text) = terminal.end();
    assert_eq!(code, 130, "{text}");
    assert!(begun.elapsed() < Duration::from_secs(60), "it waited for the grace period");
    assert_eq!(project.shown("deaf-deaf-1", "{{.State.ExitCode}}"), "137");
    assert!(text.contains("Killed"), "{text}");
    project.ours(&["down"]).ok();
}

#[test]
fn keys_of_the_menu_watch_and_detach() {
    let Some(e) = Engine::start() else { return };
    let file = "services:\n  web:\n    image: busybox\n    command: sh -c 'echo here; exec sleep 1000'\n    stop_signal: SIGKILL\n    develop: {watch: [{action: sync, path: ./src, target: /src}]}\n";
    let project = Project::new(&e, "keys", file);
    std::fs::create_dir(project.path("src")).unwrap();
    let mut command = project.command(Client::Ours).unwrap();
    command.args(["-f", project.path("compose.yaml").to_str().unwrap(), "up", "--menu"]);
    let mut terminal = Terminal::run(&command);
    terminal.expect("w Enable Watch   d Detach");
    terminal.press("x");
    terminal.press("w");
    terminal.expect("w Disable Watch   d Detach");
    terminal.expect("Watch enabled");
    project.write("src/new", "x");
    terminal.expect("Syncing service");
    terminal.press("w");
    terminal.resize(30, 60);
    terminal.press("d");
    let (code, text) = terminal.end();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("Stopping"), "{text}");
    assert_eq!(project.shown("keys-web-1", "{{.State.Running}}"), "true");
    project.ours(&["down", "-t", "0"]).ok();
}

#[test]
fn who_does_not_watch_is_not_asked_what() {
    let Some(e) = Engine::start() else { return };
    let file = "services:\n  web:\n    image: busybox\n    command: 'true'\n    develop: {watch: [{action: rebuild, path: ./src}]}\n";
    let project = Project::new(&e, "unwatched", file);
    project.ours(&["up"]).ok();
    let watched = project.ours(&["watch", "--no-up"]);
    assert!(watched.err.contains("can't watch service without a build section"), "{}", watched.err);
    project.ours(&["down", "-t", "0"]).ok();
}

#[test]
fn a_failed_up_says_which_why_and_what_it_left() {
    let Some(e) = Engine::start() else { return };
    let file = "services:\n  good: {image: busybox, command: sleep 100, stop_signal: SIGKILL}\n  bad: {image: busybox, command: /no/such, depends_on: [good]}\n  later: {image: busybox, command: sleep 100, depends_on: [bad]}\n";
    let project = Project::new(&e, "failing", file);
    let done = project.ours(&["up", "-d"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.contains("service \"bad\": "), "which: {}", done.err);
    assert!(done.err.contains("\"/no/such\"") && done.err.contains("no such file"), "why: {}", done.err);
    for left in ["failing-good-1 (running)", "failing-bad-1 (created)", "failing-later-1 (created)"] {
        assert!(done.err.contains(left), "what it left, {left}: {}", done.err);
    }
    // It goes on from there.
    project.write("compose.yaml", &file.replace("/no/such", "sleep 100"));
    project.ours(&["up", "-d", "-t", "0"]).ok();
    assert_eq!(project.shown("failing-later-1", "{{.State.Running}}"), "true");
    project.ours(&["down", "-t", "0"]).ok();
    for client in clients() {
        let health = "services:\n  ill: {image: busybox, command: sleep 100, stop_signal: SIGKILL, healthcheck: {test: 'false', interval: 100ms, retries: 1}}\n  on: {image: busybox, command: sleep 100, depends_on: {ill: {condition: service_healthy}}}\n";
        project.write("compose.yaml", health);
        let done = project.with(client, &["up", "-d"]).unwrap();
        assert!(
            done.code == 1 && done.err.contains("container failing-ill-1 is unhealthy"),
            "{client:?}: {}",
            done.err
        );
        project.with(client, &["down", "-t", "0"]).unwrap().ok();
    }
}
