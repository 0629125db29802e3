//! Only what changed is made anew, whichever client made it.

use crate::compose::{Client, Project, clients, plugin};
use std::io::Read;
use wharf_e2e::{Engine, eventually, get};

const FILE: &str = "
services:
  web: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, environment: {A: 1}, depends_on: [db], volumes: [/anon, 'data:/data'], networks: [n]}
  db: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, networks: [n], env_file: app.env}
networks: {n: }
volumes: {data: }
";

#[test]
fn either_client_goes_on_with_the_others_project() {
    let Some(e) = Engine::start() else { return };
    if plugin().is_none() {
        println!("skipped: there is no Compose plugin on this host (beside DOCKER_BIN)");
        return;
    }
    let project = Project::new(&e, "both", FILE);
    project.write("app.env", "X=1\n");
    let ids = || (project.shown("both-web-1", "{{.Id}}"), project.shown("both-db-1", "{{.Id}}"));
    for (first, second) in [(Client::Ours, Client::Plugin), (Client::Plugin, Client::Ours)] {
        project.with(first, &["up", "-d"]).unwrap().ok();
        let before = ids();
        let again = project.with(second, &["up", "-d"]).unwrap();
        assert_eq!(ids(), before, "{second:?} made anew what {first:?} had made: {}", again.err);
        assert!(again.err.contains("Running"), "{}", again.err);
        assert!(project.with(second, &["ps", "--services"]).unwrap().ok().contains("web"));
        project.with(second, &["down", "-v"]).unwrap().ok();
        assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
        assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "");
    }
}

#[test]
fn only_what_changed_is_made_anew() {
    let Some(e) = Engine::start() else { return };
    for client in clients() {
        let project = Project::new(&e, "change", FILE);
        project.write("app.env", "X=1\n");
        let up = |args: &[&str]| project.with(client, &[&["up", "-d"], args].concat()).unwrap().ok();
        let id = |name: &str| project.shown(&format!("change-{name}-1"), "{{.Id}}");
        let anonymous = || {
            project.shown(
                "change-web-1",
                "{{range .Mounts}}{{if eq .Destination \"/anon\"}}{{.Name}}{{end}}{{end}}",
            )
        };
        up(&[]);
        let (web, db, volume) = (id("web"), id("db"), anonymous());
        project.write("compose.yaml", &FILE.replace("A: 1", "A: 2"));
        up(&[]);
        assert!(id("web") != web && id("db") == db, "{client:?}");
        assert_eq!(anonymous(), volume, "anonymous volumes go over");
        let web = id("web");
        up(&["--force-recreate", "--no-deps", "web"]);
        assert!(id("web") != web && id("db") == db, "{client:?}");
        project.write("app.env", "X=2\n");
        up(&["--no-recreate"]);
        assert_eq!(id("db"), db);
        up(&[]);
        assert_ne!(id("db"), db);
        up(&["--scale", "db=3"]);
        assert_eq!(project.with(client, &["ps", "-q", "db"]).unwrap().ok().lines().count(), 3);
        up(&["--scale", "db=1"]);
        assert_eq!(project.with(client, &["ps", "-q", "db"]).unwrap().ok().lines().count(), 1);
        project.write(
            "compose.yaml",
            "services: {web: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}}\n",
        );
        let warned = project.with(client, &["up", "-d"]).unwrap();
        assert!(
            warned.err.contains("orphan containers") && warned.err.contains("change-db-1"),
            "{}",
            warned.err
        );
        up(&["--remove-orphans"]);
        assert_eq!(e.run(&["ps", "-a", "--format", "{{.Names}}"]).ok(), "change-web-1");
        project.with(client, &["down", "-v"]).unwrap().ok();
        e.run(&["volume", "prune", "-af"]).ok();
        e.run(&["network", "prune", "-f"]).ok();
    }
}

#[test]
fn a_changed_network_is_made_anew_with_its_containers() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(&e, "nets", FILE);
    project.write("app.env", "");
    project.ours(&["up", "-d"]).ok();
    project.write("compose.yaml", &FILE.replace("networks: {n: }", "networks: {n: {labels: {a: b}}}"));
    project.ours(&["up", "-d"]).ok();
    assert_eq!(e.run(&["network", "inspect", "--format", "{{.Labels.a}}", "nets_n"]).ok(), "b");
    assert_eq!(project.shown("nets-web-1", "{{.State.Running}}"), "true");
    project.ours(&["down", "-v"]).ok();
}

#[test]
fn a_rolling_update_keeps_the_service_answering() {
    let Some(e) = Engine::start() else { return };
    let file = |version: u32| {
        format!(
            "services:
  web:
    image: busybox
    command: sh -c 'mkdir /w; echo {version} > /w/index.html; httpd -f -h /w'
    stop_signal: SIGKILL
    healthcheck: {{test: wget -q -O /dev/null 127.0.0.1, interval: 200ms}}
    deploy: {{replicas: 2, update_config: {{order: start-first, parallelism: 1}}}}
  asks:
    image: busybox
    stop_signal: SIGKILL
    depends_on: {{web: {{condition: service_healthy}}}}
    command: [sh, /ask]
    configs: [{{source: ask, target: /ask}}]
configs:
  ask:
    # By address, for the static BusyBox looks up no names but by nslookup; any that answers will do, as for every client.
    content: |
      while true; do
        got=
        for a in $$(nslookup web 2>/dev/null | sed -n '/^Name/,$$s/^Address[^:]*: *//p'); do
          got=$$(printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 $$a 80 | tail -n 1); [ -n \"$$got\" ] && break
        done
        echo $${{got:-missed}}
      done
"
        )
    };
    let project = Project::new(&e, "rolling", &file(1));
    project.ours(&["up", "-d"]).ok();
    let answers = || project.ours(&["logs", "--no-log-prefix", "asks"]).ok();
    eventually("answers of the first", || answers().contains('1'));
    project.write("compose.yaml", &file(2));
    project.ours(&["up", "-d"]).ok();
    let after = answers().len();
    eventually("answers of the second alone", || answers()[after..].matches('2').count() > 5);
    assert!(!answers().contains("missed"), "{}", answers());
    assert_eq!(
        e.run(&["ps", "--format", "{{.Names}}", "--filter", "name=rolling-web"]).ok().lines().count(),
        2
    );
    project.ours(&["down"]).ok();
}

#[test]
fn a_failed_up_says_what_and_what_it_left() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(
        &e,
        "fails",
        "services:\n  bad: {image: busybox, command: nosuchprogram}\n  needs: {image: busybox, command: sleep 9, depends_on: [bad]}\n",
    );
    let done = project.ours(&["up", "-d"]);
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("service \"bad\"") && done.err.contains("executable file not found"),
        "{}",
        done.err
    );
    assert!(done.err.contains("fails-needs-1 (created)"), "{}", done.err);
    project.ours(&["down"]).ok();
    let ill = Project::new(
        &e,
        "ill",
        "services:\n  sick: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, healthcheck: {test: 'false', interval: 100ms, retries: 1}}\n  needs: {image: busybox, command: sleep 9, depends_on: {sick: {condition: service_healthy}}}\n",
    );
    let done = ill.ours(&["up", "-d"]);
    assert!(done.code == 1 && done.err.contains("dependency sick of needs failed to start"), "{}", done.err);
    assert!(done.err.contains("ill-sick-1 is unhealthy"), "{}", done.err);
    ill.ours(&["down"]).ok();
}

#[test]
fn in_the_foreground() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(
        &e,
        "front",
        "services:\n  a: {image: busybox, command: \"sh -c 'echo from a; exit 3'\"}\n  b: {image: busybox, command: \"sh -c 'echo from b; sleep 1000'\", stop_signal: SIGKILL, depends_on: [a]}\n",
    );
    for client in clients() {
        let done = project.with(client, &["up", "--exit-code-from", "a"]).unwrap();
        assert_eq!(done.code, 3, "{client:?}: {}{}", done.out, done.err);
        assert!(
            done.out.contains("from a") && done.out.contains("exited with code 3"),
            "{client:?}: {}",
            done.out
        );
        let done = project.with(client, &["up", "a"]).unwrap();
        assert_eq!(done.code, 0, "{client:?}");
        project.with(client, &["down"]).unwrap().ok();
    }
    let mut command = e.wharf();
    command
        .args(["compose", "up"])
        .current_dir(project.path(""))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    eventually("the second runs", || project.ours(&["ps", "-q", "b"]).out.trim().len() == 64);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{text}");
    assert!(text.contains("b-1  | from b"), "{text}");
    assert_eq!(project.shown("front-b-1", "{{.State.Running}}"), "false");
    project.ours(&["down"]).ok();
}

#[test]
fn up_takes_what_a_directory_has() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(
        &e,
        "obvious",
        "services: {web: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}}\n",
    );
    let up = |dir: &str| {
        let mut command = e.wharf();
        wharf_e2e::run_limited(command.args(["up", &project.path(dir).display().to_string()]), "")
    };
    let shown = up(".").ok();
    assert!(
        shown.contains("compose.yaml: bringing its services up") && shown.contains("obvious-web-1"),
        "{shown}"
    );
    project.ours(&["down"]).ok();
    std::fs::remove_file(project.path("compose.yaml")).unwrap();
    project.write("page/Dockerfile", "FROM busybox\nRUN mkdir /w && echo page > /w/index.html\nEXPOSE 80\nCMD [\"httpd\", \"-f\", \"-h\", \"/w\"]\n");
    for _ in 0..2 {
        let shown = up("page").ok();
        assert!(shown.contains("Dockerfile: building its image and running it"), "{shown}");
    }
    let port = e.run(&["port", "page", "80"]).ok();
    let address = format!("127.0.0.1:{}", port.lines().next().unwrap().rsplit(':').next().unwrap());
    eventually("the page", || get(&address).as_deref() == Some("page\n"));
    e.run(&["rm", "-f", "page"]).ok();
    project.write("nothing/file", "");
    let done = up("nothing");
    assert!(
        done.code == 1 && done.err.contains("no Compose file") && done.err.contains("no Dockerfile"),
        "{}",
        done.err
    );
}
