//! The verbs of Compose, through both clients where both have them.

use crate::compose::{Client, Project, clients};
use crate::registry::Registry;
use wharf_e2e::{Engine, eventually};

const FILE: &str = "
services:
  web: {image: busybox, command: \"sh -c 'echo out; echo err >&2; exec sleep 1000'\", stop_signal: SIGKILL, ports: ['127.0.0.1::80'], depends_on: [db], volumes: ['data:/data']}
  db: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}
  tool: {image: busybox, command: sleep 1, profiles: [tools]}
volumes: {data: }
";

#[test]
fn verbs_of_both_clients() {
    let Some(e) = Engine::start() else { return };
    for client in clients() {
        let project = Project::new(&e, "verbs", FILE);
        let run = |args: &[&str]| project.with(client, args).unwrap();
        let state = |name: &str| project.shown(&format!("verbs-{name}-1"), "{{.State.Status}}");
        run(&["create"]).ok();
        assert_eq!(state("web"), "created");
        run(&["start"]).ok();
        assert_eq!(state("web"), "running");
        let listed = run(&["ps", "--format", "{{.Name}} {{.Service}} {{.State}}"]).ok();
        assert!(listed.contains("verbs-web-1 web running"), "{client:?}: {listed}");
        let json = run(&["ps", "--format", "json", "web"]).ok();
        let json: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&json["Service"], &json["Publishers"][0]["TargetPort"]),
            (&"web".into(), &80.into()),
            "{client:?}"
        );
        eventually("the log", || run(&["logs", "--no-color", "web"]).out.contains("web-1  | out"));
        assert_eq!(run(&["exec", "-T", "web", "sh", "-c", "echo in; exit 4"]).code, 4);
        assert_eq!(run(&["run", "--rm", "-T", "-e", "V=1", "tool", "sh", "-c", "echo $V"]).ok(), "1");
        assert_eq!(run(&["run", "--rm", "-T", "--no-deps", "web", "sh", "-c", "exit 6"]).code, 6);
        let port = run(&["port", "web", "80"]).ok();
        assert!(port.starts_with("127.0.0.1:"), "{port}");
        assert!(run(&["top", "db"]).ok().contains("sleep 1000"));
        assert!(run(&["images"]).ok().contains("busybox"));
        assert!(run(&["ls"]).ok().contains("running(2)"));
        assert!(run(&["volumes", "-q"]).ok().contains("verbs_data"));
        assert!(
            run(&["stats", "--no-stream", "--format", "{{.Name}}"]).ok().contains("verbs-db-1"),
            "{client:?}"
        );
        project.write("file", "copied\n");
        run(&["cp", "file", "web:/tmp/file"]).ok();
        assert_eq!(run(&["exec", "-T", "web", "cat", "/tmp/file"]).ok(), "copied");
        run(&["cp", "web:/tmp/file", "back"]).ok();
        assert_eq!(std::fs::read_to_string(project.path("back")).unwrap(), "copied\n");
        run(&["pause", "web"]).ok();
        assert_eq!(state("web"), "paused");
        run(&["unpause", "web"]).ok();
        run(&["restart", "web"]).ok();
        assert_eq!(state("web"), "running");
        run(&["kill", "-s", "KILL", "web"]).ok();
        eventually("the end", || state("web") == "exited");
        assert_eq!(run(&["ps", "-a", "--status", "exited", "-q"]).ok().lines().count(), 1);
        run(&["rm", "-f"]).ok();
        assert!(!run(&["ps", "-a"]).ok().contains("verbs-web-1"));
        run(&["up", "-d", "--wait"]).ok();
        run(&["commit", "web", "verbs/committed"]).ok();
        e.run(&["rmi", "verbs/committed"]).ok();
        run(&["export", "-o", "files.tar", "db"]).ok();
        assert!(std::fs::metadata(project.path("files.tar")).unwrap().len() > 100_000);
        run(&["stop", "-t", "0"]).ok();
        assert_eq!(state("db"), "exited");
        run(&["down", "-v", "--remove-orphans"]).ok();
        assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
        assert!(!e.run(&["network", "ls"]).ok().contains("verbs_default"));
        assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "");
    }
}

#[test]
fn a_project_without_its_files() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(&e, "gone", FILE);
    project.ours(&["up", "-d"]).ok();
    let away = Project::new(&e, "elsewhere", "");
    std::fs::remove_file(away.path("compose.yaml")).unwrap();
    assert!(away.ours(&["-p", "gone", "ps"]).ok().contains("gone-web-1"));
    assert!(away.ours(&["-p", "gone", "logs"]).ok().contains("out"));
    away.ours(&["-p", "gone", "stop", "web"]).ok();
    away.ours(&["-p", "gone", "down"]).ok();
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
    assert!(away.ours(&["ps"]).err.contains("no configuration file provided"));
}

#[test]
fn images_are_built_pushed_and_pulled() {
    let Some(e) = Engine::start() else { return };
    let registry = Registry::start(&e);
    let login = ["login", registry.address(), "-u", "me", "--password-stdin"];
    e.run_with(&login, "secret").ok();
    let file = format!(
        "services:\n  web:\n    image: {}/me/web:1\n    build: {{context: ., args: {{V: one}}, target: last}}\n    command: cat /v\n  inline:\n    build: {{dockerfile_inline: \"FROM busybox\\nRUN echo inline > /v\\n\"}}\n    command: cat /v\n",
        registry.address()
    );
    let project = Project::new(&e, "builds", &file);
    project.write(
        "Dockerfile",
        "FROM busybox AS first\nARG V\nRUN echo $V > /v\nFROM first AS last\nLABEL l=1\n",
    );
    project.ours(&["build"]).ok();
    assert_eq!(project.ours(&["run", "--rm", "-T", "web"]).ok(), "one");
    assert_eq!(project.ours(&["run", "--rm", "-T", "inline"]).ok(), "inline");
    project.ours(&["build", "--build-arg", "V=two", "web"]).ok();
    assert_eq!(project.ours(&["run", "--rm", "-T", "web"]).ok(), "two");
    project.ours(&["push", "web"]).ok();
    project.ours(&["down", "--rmi", "all"]).ok();
    assert!(!e.run(&["images"]).ok().contains("me/web"));
    project.ours(&["pull", "web"]).ok();
    assert!(e.run(&["images"]).ok().contains("me/web"));
    project.ours(&["up", "-d", "--no-build", "--no-deps", "web"]).ok();
    project.ours(&["down", "--rmi", "all"]).ok();
}

#[test]
fn watch_brings_changes_into_containers() {
    let Some(e) = Engine::start() else { return };
    let file = "
services:
  web:
    image: busybox
    command: sleep 1000
    stop_signal: SIGKILL
    develop:
      watch:
        - {path: ./app, action: sync, target: /app, ignore: ['*.tmp']}
        - {path: ./settings, action: sync+restart, target: /settings}
";
    let project = Project::new(&e, "watched", file);
    project.write("app/first", "1\n");
    project.write("settings", "a\n");
    let mut watching = e.wharf();
    watching
        .args(["compose", "watch"])
        .current_dir(project.path(""))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut watching = watching.spawn().unwrap();
    let inside = |command: &str| project.ours(&["exec", "-T", "web", "sh", "-c", command]);
    eventually("the service", || inside("true").code == 0);
    // Which of the two is first is not known: the file is written until the watch has it.
    eventually("a file", || {
        project.write("app/dir/second", "2\n");
        inside("cat /app/dir/second").out == "2\n"
    });
    project.write("app/third.tmp", "3\n");
    std::fs::remove_file(project.path("app/dir/second")).unwrap();
    eventually("the file's end", || inside("cat /app/dir/second").code != 0);
    assert_ne!(inside("cat /app/third.tmp").code, 0, "what is ignored stays here");
    let started = project.shown("watched-web-1", "{{.State.StartedAt}}");
    project.write("settings", "b\n");
    eventually("a restart", || project.shown("watched-web-1", "{{.State.StartedAt}}") != started);
    assert_eq!(inside("cat /settings").out, "b\n");
    watching.kill().unwrap();
    watching.wait().unwrap();
    project.ours(&["down"]).ok();
}

#[test]
fn a_picture_and_the_rest() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(&e, "rest", FILE);
    let svg = project.ours(&["viz"]).ok();
    assert!(svg.starts_with("<svg ") && svg.contains("web needs db") && svg.contains("</svg>"), "{svg}");
    assert!(project.ours(&["viz", "--format", "dot"]).ok().contains("\"web\" -> \"db\""));
    assert!(project.with(Client::Ours, &["version", "--short"]).unwrap().ok().starts_with("2.40"));
    let dry = project.ours(&["--dry-run", "up", "-d"]);
    assert!(dry.code == 0 && dry.err.contains("DRY-RUN MODE"), "{}", dry.err);
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
    let json = project.ours(&["--progress", "json", "up", "-d"]);
    let first: serde_json::Value = serde_json::from_str(json.err.lines().next().unwrap()).unwrap();
    assert!(first["id"].is_string(), "{}", json.err);
    // Until now is until the second that has begun: what has just happened comes with the next.
    eventually("events", || {
        let events = project.ours(&["events", "--json", "--since", "1h", "--until", "0s"]).ok();
        // Services are made side by side: any may be the first.
        let mut events = events.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        events.any(|event| event["type"] == "container" && event["service"] == "db")
    });
    project.ours(&["kill", "db"]).ok();
    assert!(project.ours(&["wait", "db"]).out.contains("137"));
    project.ours(&["down", "-v"]).ok();
    assert!(project.ours(&["upp"]).err.contains("unknown command"));
    assert!(project.ours(&["--nope", "ps"]).err.contains("unknown flag: --nope"));
}
