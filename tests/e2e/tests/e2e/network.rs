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
    let devices = ["run", "--rm", "--pid", "container:a1", "busybox", "ls", "/sys/class/net"];
    assert!(e.run(&devices).ok().contains("eth0"), "/sys is of the container's own network");
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

fn inside(e: &Engine, container: &str, script: &str) -> String {
    e.run(&["exec", container, "sh", "-c", script]).ok()
}

#[test]
fn running_containers_change_networks() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    e.run(&["network", "create", "--subnet", "10.215.77.0/24", "n1"]).ok();
    let serve = ["-p", "127.0.0.1::80", "busybox", "sh", "-c", SERVE];
    e.run(&[&["run", "-d", "--name", "c1"][..], &serve].concat()).ok();
    e.run(&["run", "-d", "--name", "c2", "--network", "n1", "busybox", "sleep", "1000"]).ok();
    let port = e.run(&["port", "c1", "80"]).ok();
    let shows_page = || get(&port).as_deref() == Some("page\n");
    eventually("the page", shows_page);

    e.run(&["network", "connect", "--alias", "api", "--ip", "10.215.77.50", "n1", "c1"]).ok();
    assert!(inside(&e, "c1", "ip addr show eth1").contains("10.215.77.50/24"));
    assert!(inside(&e, "c1", "cat /etc/hosts").contains("10.215.77.50\t"));
    assert!(!inside(&e, "c1", "ip route").contains("default via 10.215.77.1"));
    assert_eq!(inside(&e, "c2", "wget -qO- http://api/"), "page");
    let twice = e.run(&["network", "connect", "n1", "c1"]);
    assert!(twice.code == 1 && twice.err.contains("already exists in network n1"), "{}", twice.err);
    let taken = e.run(&["network", "connect", "--ip", "10.215.77.50", "n1", "c2"]);
    assert_eq!(taken.code, 1, "{}", taken.err);

    // Ports and default route follow to what is left.
    e.run(&["network", "disconnect", "bridge", "c1"]).ok();
    assert!(inside(&e, "c1", "ip route").contains("default via 10.215.77.1"));
    assert!(!inside(&e, "c1", "ip addr").contains("eth0"));
    assert_eq!(inside(&e, "c1", "cat /etc/hosts | wc -l"), inside(&e, "c2", "cat /etc/hosts | wc -l"));
    assert_eq!(inside(&e, "c1", "grep -c 10.215.77.1 /etc/resolv.conf"), "1");
    assert_eq!(e.run(&["port", "c1", "80"]).ok(), port);
    assert!(shows_page());

    e.kill();
    e.launch();
    assert!(shows_page());
    e.run(&["network", "connect", "--gw-priority", "5", "bridge", "c1"]).ok();
    assert!(!inside(&e, "c1", "ip route").contains("default via 10.215.77.1"));
    assert!(shows_page());
    let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    assert_eq!(e.run(&["inspect", "--format", networks, "c1"]).ok().trim(), "bridge n1");
    e.run(&["network", "disconnect", "n1", "c1"]).ok();
    assert_ne!(e.run(&["exec", "c2", "wget", "-qO-", "http://api/"]).code, 0);
    let gone = e.run(&["network", "disconnect", "n1", "c1"]);
    assert!(gone.code == 1 && gone.err.contains("is not connected to the network n1"), "{}", gone.err);
    e.run(&["restart", "-t", "0", "c1"]).ok();
    assert_eq!(e.run(&["inspect", "--format", networks, "c1"]).ok().trim(), "bridge");

    e.run(&["rm", "-f", "c1", "c2"]).ok();
    e.run(&["network", "rm", "n1"]).ok();
    e.back_to(&before);
}

#[test]
fn stopped_containers_change_networks() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "10.215.78.0/24", "n1"]).ok();
    e.run(&["network", "create", "--subnet", "10.215.79.0/24", "--internal", "n2"]).ok();
    e.run(&["create", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    e.run(&["network", "connect", "--alias", "a1", "n1", "c1"]).ok();
    e.run(&["network", "connect", "n2", "c1"]).ok();
    e.run(&["network", "disconnect", "bridge", "c1"]).ok();
    let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    assert_eq!(e.run(&["inspect", "--format", networks, "c1"]).ok().trim(), "n1 n2");
    e.run(&["start", "c1"]).ok();
    assert_eq!(e.run(&["inspect", "--format", networks, "c1"]).ok().trim(), "n1 n2");
    assert_eq!(inside(&e, "c1", "ip -o link | grep -c eth"), "2");
    assert_eq!(inside(&e, "c1", "ip route | grep -c default"), "1");
    assert!(inside(&e, "c1", "nslookup a1").contains("a1"));
    for (mode, words) in
        [("host", "host network"), ("none", "private (none) mode"), ("container:c1", "sharing")]
    {
        e.run(&["run", "-d", "--name", "other", "--network", mode, "busybox", "sleep", "1000"]).ok();
        let refused = e.run(&["network", "connect", "n1", "other"]);
        assert!(refused.code == 1 && refused.err.contains(words), "{mode}: {}", refused.err);
        e.run(&["rm", "-f", "other"]).ok();
    }
    e.run(&["run", "-d", "--name", "other", "--network", "none", "busybox", "sleep", "1000"]).ok();
    e.run(&["network", "disconnect", "none", "other"]).ok();
    e.run(&["network", "connect", "n1", "other"]).ok();
    assert_eq!(inside(&e, "other", "ip route | grep -c default"), "1");
    assert!(inside(&e, "other", "nslookup c1").contains("c1"));
}

#[test]
fn networks_made_at_once_have_subnets_and_names_of_their_own() {
    let Some(e) = Engine::start() else { return };
    let create = |name: String| e.run(&["network", "create", &name]).code;
    let codes = |names: [&str; 8]| -> Vec<i32> {
        std::thread::scope(|scope| {
            let threads = names.map(|name| scope.spawn(|| create(name.to_owned())));
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    assert_eq!(codes(["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"]), [0; 8]);
    assert_eq!(codes(["same"; 8]).iter().filter(|code| **code == 0).count(), 1);
}

#[test]
fn networks_of_users_have_dockers_resolver_too() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "10.215.82.0/24", "n1"]).ok();
    e.run(&["network", "create", "--subnet", "10.215.83.0/24", "n2"]).ok();
    for (name, network) in [("one", "n1"), ("two", "n2"), ("both", "n1")] {
        e.run(&["run", "-d", "--name", name, "--network", network, "busybox", "sleep", "1000"]).ok();
    }
    // The engine's table of names is beside everything that the container's own rules say.
    let finds = |e: &Engine, who: &str, name: &str| {
        let script = format!("nslookup {name} 127.0.0.11 | grep -A1 Name | tail -1");
        e.run(&["exec", who, "sh", "-c", &script]).out
    };
    e.run(&["network", "connect", "n2", "both"]).ok();
    assert!(
        finds(&e, "both", "one").contains("10.215.82.") && finds(&e, "both", "two").contains("10.215.83.")
    );
    e.run(&["network", "disconnect", "n1", "both"]).ok();
    assert!(finds(&e, "both", "two").contains("10.215.83."));
    e.kill();
    e.launch();
    assert!(finds(&e, "one", "one").contains("10.215.82."), "after a start of the engine");
    assert!(finds(&e, "both", "two").contains("10.215.83."));
    // Its port is free for a server of the container's own.
    e.run(&["exec", "-d", "one", "nc", "-ll", "-p", "53", "-e", "cat"]).ok();
    let listens = || inside(&e, "one", "netstat -ltn");
    eventually("a server of its own listens", || {
        listens().contains(":::53 ") || listens().contains("0.0.0.0:53 ")
    });
}

#[test]
fn dockers_client_changes_networks() {
    let Some(e) = Engine::start() else { return };
    let Some(made) = e.docker(&["network", "create", "--subnet", "10.215.80.0/24", "n1"], "") else { return };
    made.ok();
    e.run(&["network", "create", "--subnet", "10.215.81.0/24", "n0"]).ok();
    let docker = |args: &[&str]| e.docker(args, "").unwrap().ok();
    docker(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--network",
        "n0",
        "--network",
        "name=n1,alias=x",
        "busybox",
        "sleep",
        "100",
    ]);
    let networks = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
    assert_eq!(docker(&["inspect", "--format", networks, "c1"]).trim(), "n0 n1");
    docker(&["network", "disconnect", "n1", "c1"]);
    docker(&["network", "connect", "n1", "c1"]);
    let members = docker(&["network", "inspect", "--format", "{{range .Containers}}{{.Name}}{{end}}", "n1"]);
    assert_eq!(members, "c1");
}

#[test]
fn ipv6_without_a_subnet_is_unique_local() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "10.215.82.0/24", "--ipv6", "six"]).ok();
    e.run(&["run", "-d", "--name", "c1", "--network", "six", "busybox", "sleep", "1000"]).ok();
    let address =
        e.run(&["inspect", "--format", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}", "c1"]).ok();
    assert!(address.starts_with("fd"), "{address}");
    e.run(&["run", "--rm", "--network", "six", "busybox", "ping", "-6", "-c", "1", "c1"]).ok();
}
