//! The unmodified docker client.

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
