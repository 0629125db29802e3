//! Flags and attributes that once were taken without effect, through both clients: what Docker's tool does with each.

use crate::compose::{Client, Project, clients};
use wharf_e2e::{Engine, eventually};

#[test]
fn names_of_the_first_compose() {
    let Some(e) = Engine::start() else { return };
    let file =
        "services:\n  web: {image: busybox, command: sleep 100, stop_signal: SIGKILL}\n  made: {build: .}\n";
    let project = Project::new(&e, "older", file);
    project.write("Dockerfile", "FROM busybox\n");
    for client in clients() {
        project.with(client, &["--compatibility", "up", "-d", "web"]).unwrap().ok();
        assert_eq!(e.run(&["ps", "--format", "{{.Names}}"]).ok(), "older_web_1", "{client:?}");
        let images = project.with(client, &["--compatibility", "config", "--images"]).unwrap().ok();
        assert!(images.contains("older_made"), "{client:?}: {images}");
        // Without the flag the container goes on with its name.
        assert!(project.with(client, &["up", "-d", "web"]).unwrap().err.contains("older_web_1  Running"));
        assert!(project.with(client, &["logs"]).is_some());
        project.with(client, &["down"]).unwrap().ok();
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_config_says_of_variables() {
    let Some(e) = Engine::start() else { return };
    let file = r#"
services:
  one:
    image: ${IMG:-busybox}
    command: sleep ${N:?say how long}
    environment: {A: "${A}", B: "${B-def}", C: "${C:+alt}", E: "${E?req}", F: "$$x ${F:-${G:-h}}"}
    ports: ["80:80", "${PORT}:90"]
    volumes: ["./x:/y"]
    env_file: a.env
    depends_on: [two]
    networks: [n]
  two: {image: "b:$A", build: ., entrypoint: sh -c "x y", ports: ["70:80/udp"]}
networks: {n: }
volumes: {d: {}, e: {external: true}}
configs: {c: {file: ./f}}
"#;
    let project = Project::new(&e, "variables", file);
    project.write("a.env", "X=1\n");
    let seen = |client, args: &[&str]| {
        let mut command = project.command(client)?;
        command.args(args).env("N", "3").env("E", "e");
        Some(wharf_e2e::run_limited(&mut command, "").ok())
    };
    for args in [
        &["config", "--variables", "--format", "json"][..],
        &["config", "--no-interpolate"],
        &["config", "--no-interpolate", "--format", "json"],
        &["config", "--no-interpolate", "--services"],
        &["config"],
    ] {
        let ours = seen(Client::Ours, args).unwrap();
        let Some(theirs) = seen(Client::Plugin, args) else { continue };
        match args {
            [.., "json"] => {
                let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                assert_eq!(value(&ours), value(&theirs), "{args:?}");
            }
            // The plugin's order is another each time.
            [.., "--services"] => assert_eq!(sorted(&ours), sorted(&theirs), "{args:?}"),
            _ => assert_eq!(ours, theirs, "{args:?}"),
        }
    }
    let table = seen(Client::Ours, &["config", "--variables"]).unwrap();
    assert!(
        table.starts_with("NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE\n"),
        "{table}"
    );
    assert!(table.contains("\nF                   false               ${G:-h}"), "{table}");
}

#[test]
fn run_sees_to_orphans() {
    let Some(e) = Engine::start() else { return };
    let both = "services:\n  web: {image: busybox, command: sleep 100, stop_signal: SIGKILL}\n  gone: {image: busybox, command: sleep 100, stop_signal: SIGKILL}\n";
    let project = Project::new(&e, "orphaned", both);
    for client in clients() {
        project.write("compose.yaml", both);
        project.with(client, &["up", "-d"]).unwrap().ok();
        project.write("compose.yaml", both.split("  gone").next().unwrap());
        let done = project.with(client, &["run", "--rm", "-T", "web", "true"]).unwrap();
        assert!(done.err.contains("Found orphan containers ([orphaned-gone-1])"), "{client:?}: {}", done.err);
        let detached =
            project.with(client, &["run", "--rm", "-d", "--remove-orphans", "web", "sleep", "60"]).unwrap();
        let id = detached.ok();
        assert_eq!(id.trim().len(), 64, "{client:?}: {id}");
        assert_eq!(e.run(&["ps", "-a", "--filter", "name=gone", "--format", "{{.Names}}"]).ok(), "");
        e.run(&["rm", "-f", id.trim()]).ok();
        project.with(client, &["down"]).unwrap().ok();
    }
}

#[test]
fn the_engine_is_at_hand_with_use_api_socket() {
    let Some(e) = Engine::start() else { return };
    let file = "services:\n  web: {image: busybox, command: sleep 100, stop_signal: SIGKILL, use_api_socket: true}\n";
    let project = Project::new(&e, "talking", file);
    let own = e.path("config");
    std::fs::create_dir_all(&own).unwrap();
    // "me:secret".
    std::fs::write(own.join("config.json"), r#"{"auths": {"r.example": {"auth": "bWU6c2VjcmV0"}}}"#).unwrap();
    let mut command = project.command(Client::Ours).unwrap();
    wharf_e2e::run_limited(command.args(["up", "-d"]).env("DOCKER_CONFIG", &own), "").ok();
    let inside = project.ours(&[
        "exec",
        "-T",
        "web",
        "sh",
        "-c",
        "test -S /var/run/docker.sock && cat $DOCKER_CONFIG/config.json",
    ]);
    let config: serde_json::Value = serde_json::from_str(&inside.ok()).unwrap();
    assert_eq!(config["auths"]["r.example"]["auth"], "bWU6c2VjcmV0");
    project.ours(&["down"]).ok();
}

#[test]
fn builds_are_quiet_and_their_leavings_go() {
    let Some(e) = Engine::start() else { return };
    let file = "services:\n  web:\n    build: .\n    command: sleep 100\n    stop_signal: SIGKILL\n    develop: {watch: [{path: ./Dockerfile, action: rebuild}]}\n";
    let project = Project::new(&e, "building", file);
    project.write("Dockerfile", "FROM busybox\nRUN echo loud\n");
    let quiet = project.ours(&["up", "-d", "--quiet-build"]);
    assert!(!quiet.err.contains("loud"), "{}", quiet.err);
    quiet.ok();
    for (flag, why) in [
        ("--check", "--check is not supported"),
        ("--provenance=true", "Attestation is not supported"),
        ("--sbom=true", "Attestation is not supported"),
    ] {
        let done = project.ours(&["build", flag]);
        assert!(done.code != 0 && done.err.contains(why), "{}", done.err);
    }
    project.ours(&["build", "-q", "--provenance=false"]).ok();
    let mut watching = e.wharf();
    watching.args(["compose", "watch", "--no-up", "--quiet"]).current_dir(project.path(""));
    watching.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut watching = watching.spawn().unwrap();
    let image = || e.run(&["images", "-q", "--no-trunc", "building-web"]).ok();
    let before = image();
    let mut turn = 0;
    // When the watch has begun is not known: the file is changed until it has noticed.
    eventually("a new image", || {
        turn += 1;
        project.write("Dockerfile", &format!("FROM busybox\nRUN echo loud {turn}\n"));
        image() != before
    });
    let dangling = || {
        e.run(&[
            "images",
            "-q",
            "--filter",
            "dangling=true",
            "--filter",
            "label=com.docker.compose.project=building",
        ])
        .ok()
    };
    eventually("nothing is left of the old one", || dangling().is_empty());
    watching.kill().unwrap();
    watching.wait().unwrap();
    project.ours(&["down", "--rmi", "local"]).ok();
}
