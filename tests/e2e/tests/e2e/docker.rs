//! The unmodified docker client.

use crate::registry::Registry;
use wharf_e2e::{Engine, eventually, get};

#[test]
fn the_story_with_dockers_own_client() {
    let Some(e) = Engine::start() else { return };
    if e.docker(&["version"], "").is_none() {
        println!("skipped: there is no docker client on this host (DOCKER_BIN names one)");
        return;
    }
    let docker = |args: &[&str]| e.docker(args, "").unwrap();
    std::fs::create_dir(e.path("context")).unwrap();
    std::fs::write(e.path("context/Dockerfile"), "FROM busybox\nRUN mkdir /w && echo page > /w/index.html\nEXPOSE 80\nCMD [\"httpd\", \"-f\", \"-h\", \"/w\"]\n").unwrap();
    docker(&["build", "-t", "me/web", &e.path("context").display().to_string()]).ok();
    docker(&["run", "-d", "-p", "80", "--name", "web", "me/web"]).ok();
    let port = docker(&["port", "web", "80"]).ok();
    let address = format!("127.0.0.1:{}", port.lines().next().unwrap().rsplit(':').next().unwrap());
    eventually("the page", || get(&address).as_deref() == Some("page\n"));
    assert!(docker(&["ps"]).ok().contains("me/web"));
    assert_eq!(docker(&["exec", "web", "cat", "/w/index.html"]).ok(), "page");
    assert_eq!(docker(&["exec", "web", "sh", "-c", "exit 3"]).code, 3);
    assert!(docker(&["top", "web"]).ok().contains("httpd"));
    assert!(docker(&["stats", "--no-stream", "web"]).ok().contains("web"));
    assert_eq!(docker(&["inspect", "--format", "{{.State.Running}}", "web"]).ok(), "true");
    docker(&["stop", "-t", "0", "web"]).ok();
    docker(&["start", "web"]).ok();
    docker(&["kill", "web"]).ok();
    docker(&["rm", "web"]).ok();
    assert_eq!(docker(&["run", "--rm", "busybox", "sh", "-c", "exit 5"]).code, 5);
    assert_eq!(docker(&["run", "--rm", "busybox", "nope"]).code, 127);
    assert_eq!(e.docker(&["run", "--rm", "-i", "busybox", "cat"], "through").unwrap().ok(), "through");
    docker(&["rmi", "me/web"]).ok();
}

#[test]
fn images_travel_with_dockers_own_client() {
    let Some(e) = Engine::start() else { return };
    if e.docker_command().is_none() {
        println!("skipped: there is no docker client on this host (DOCKER_BIN names one)");
        return;
    }
    let docker = |args: &[&str]| e.docker(args, "").unwrap();
    let registry = Registry::start(&e);
    let name = format!("{}/me/app:1", registry.address());
    docker(&["tag", "busybox", &name]).ok();
    assert_ne!(docker(&["push", &name]).code, 0, "without a login");
    let login = ["login", registry.address(), "-u", "me", "--password-stdin"];
    assert!(e.docker(&login, "secret").unwrap().ok().contains("Login Succeeded"));
    assert!(docker(&["push", &name]).ok().contains("digest: sha256:"));
    docker(&["rmi", &name, "busybox"]).ok();
    docker(&["pull", &name]).ok();
    assert_eq!(
        docker(&["run", "--name", "c1", &name, "sh", "-c", "echo pulled; echo bad >&2"]).out,
        "pulled\n"
    );
    assert_eq!(docker(&["logs", "c1"]).err, "bad\n");
    assert!(docker(&["ps", "-a"]).ok().contains("Exited (0)"));
    let tar = e.path("image.tar").display().to_string();
    docker(&["save", "-o", &tar, &name]).ok();
    docker(&["rm", "c1"]).ok();
    docker(&["rmi", &name]).ok();
    assert!(docker(&["load", "-i", &tar]).ok().contains(&name));
    docker(&["network", "create", "--subnet", "10.214.78.0/28", "mine"]).ok();
    let serve = "mkdir /w; echo page > /w/index.html; exec httpd -f -h /w";
    docker(&["run", "-d", "--name", "web", "--network", "mine", &name, "sh", "-c", serve]).ok();
    let fetch = "until wget -qO- http://web/ 2>/dev/null; do usleep 20000; done";
    assert_eq!(docker(&["run", "--rm", "--network", "mine", &name, "sh", "-c", fetch]).ok(), "page");
    docker(&["rm", "-f", "web"]).ok();
    docker(&["network", "rm", "mine"]).ok();
}

#[test]
fn what_there_is_not_is_said_in_dockers_words() {
    let Some(e) = Engine::start() else { return };
    let Some(plugins) = e.docker(&["plugin", "ls", "-q"], "") else { return };
    assert_eq!(plugins.ok(), "");
    let docker = |args: &[&str]| e.docker(args, "").unwrap();
    for args in [&["node", "ls"][..], &["service", "ls"], &["secret", "ls"], &["stack", "ls"]] {
        let refused = docker(args);
        assert!(
            refused.code == 1 && refused.err.contains("This node is not a swarm manager"),
            "{}",
            refused.err
        );
    }
    assert!(docker(&["swarm", "init"]).err.contains("not supported"));
    docker(&["system", "prune", "-f"]).ok();
    // An unknown network is not mistaken for an unknown image.
    let nowhere = docker(&["run", "--rm", "--network", "nowhere", "busybox", "true"]);
    assert!(nowhere.code == 125 && nowhere.err.contains("network nowhere not found"), "{}", nowhere.err);
    assert!(!nowhere.err.contains("Unable to find image"), "{}", nowhere.err);
}

#[test]
fn contexts_are_shared_with_dockers_own_client() {
    let Some(e) = Engine::start() else { return };
    let config = e.path("config");
    let plain = |mut command: std::process::Command, args: &[&str]| {
        command.env_remove("WHARF_HOST").env_remove("DOCKER_HOST").env("DOCKER_CONFIG", &config);
        wharf_e2e::run_limited(command.args(args), "")
    };
    let wharf = |args: &[&str]| plain(e.wharf(), args);
    let address = format!("host={}", e.host());
    assert_eq!(wharf(&["context", "create", "far", "--docker", &address]).ok(), "far");
    assert_ne!(wharf(&["context", "create", "far", "--docker", &address]).code, 0);
    assert_eq!(wharf(&["--context", "far", "images", "--format", "{{.Repository}}"]).ok(), "busybox");
    wharf(&["context", "use", "far"]).ok();
    assert_eq!(wharf(&["context", "show"]).ok(), "far");
    assert_eq!(wharf(&["images", "--format", "{{.Repository}}"]).ok(), "busybox");
    if let Some(docker) = e.docker_command() {
        assert_eq!(plain(docker, &["images", "--format", "{{.Repository}}"]).ok(), "busybox");
        assert_eq!(plain(e.docker_command().unwrap(), &["context", "use", "default"]).ok(), "default");
    } else {
        wharf(&["context", "use", "default"]).ok();
    }
    assert_eq!(wharf(&["context", "show"]).ok(), "default");
    assert_eq!(wharf(&["context", "rm", "far"]).ok(), "far");
    assert!(wharf(&["--context", "far", "ps"]).err.contains("does not exist"));
    // One that is gone does not stand in the way.
    std::fs::write(config.join("config.json"), r#"{"currentContext":"gone"}"#).unwrap();
    assert!(wharf(&["ps"]).err.contains("\"gone\" does not exist"));
    wharf(&["context", "use", "default"]).ok();
}
