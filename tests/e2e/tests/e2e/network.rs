//! Published ports, names, network modes, engines side by side.

use wharf_e2e::{Engine, eventually, get};

const SERVE: &str = "mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www";

/// The host port that the engine chose.
fn port(e: &Engine, container: &str) -> String {
    let text = e.run(&["port", container, "80"]).ok();
    text.lines().next().unwrap().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn published_ports_lead_to_the_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "web", "-p", "80", "busybox", "sh", "-c", SERVE]).ok();
    let port = port(&e, "web");
    let local = format!("127.0.0.1:{port}");
    eventually("the page", || get(&local).as_deref() == Some("page\n"));
    let gateway = e.run(&["inspect", "--format", "{{.NetworkSettings.Gateway}}", "web"]).ok();
    assert_eq!(get(&format!("{gateway}:{port}")).as_deref(), Some("page\n"), "the host's own address");
    let by_name = e.run(&["run", "--rm", "busybox", "wget", "-qO-", "http://web/"]);
    assert_eq!(by_name.ok(), "page", "another container by name");
    let taken = e.run(&["run", "--rm", "-p", &format!("{port}:80"), "busybox", "true"]);
    assert_eq!(taken.code, 125);
    assert!(taken.err.contains("port is already allocated"), "{}", taken.err);
    e.run(&["stop", "-t", "0", "web"]).ok();
    assert_eq!(get(&local), None, "a stopped container's port");
    e.run(&["rm", "web"]).ok();
}

#[test]
fn network_modes() {
    let Some(e) = Engine::start() else { return };
    let links =
        |mode: &str| e.run(&["run", "--rm", "--network", mode, "busybox", "ls", "/sys/class/net"]).ok();
    assert_eq!(links("none"), "lo");
    assert!(links("bridge").contains("eth0"));
    let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(
        e.run(&["run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"]).ok(),
        own
    );
    e.run(&["run", "-d", "--name", "a1", "busybox", "sleep", "1000"]).ok();
    let shown = |args: &[&str]| e.run(&[args, &["readlink", "/proc/self/ns/net"]].concat()).ok();
    assert_eq!(shown(&["run", "--rm", "--network", "container:a1", "busybox"]), shown(&["exec", "a1"]));
}

#[test]
fn user_networks_keep_apart() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "10.214.77.0/28", "mine"]).ok();
    e.run(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "mine",
        "--network-alias",
        "page",
        "busybox",
        "sh",
        "-c",
        SERVE,
    ])
    .ok();
    let fetch = |network: &str, name: &str| {
        e.run(&["run", "--rm", "--network", network, "busybox", "wget", "-qO-", name])
    };
    assert_eq!(fetch("mine", "http://page/").ok(), "page");
    assert_ne!(fetch("bridge", "http://page/").code, 0, "a name of another network");
    e.run(&["rm", "-f", "web"]).ok();
    e.run(&["network", "rm", "mine"]).ok();
}

#[test]
fn engines_live_side_by_side() {
    let (Some(a), Some(b)) = (Engine::start(), Engine::start()) else { return };
    for e in [&a, &b] {
        e.run(&["run", "-d", "--name", "web", "-p", "80", "busybox", "sh", "-c", SERVE]).ok();
    }
    for e in [&a, &b] {
        let local = format!("127.0.0.1:{}", port(e, "web"));
        eventually("the page", || get(&local).as_deref() == Some("page\n"));
        assert_eq!(e.run(&["ps", "-q"]).ok().lines().count(), 1);
    }
}
