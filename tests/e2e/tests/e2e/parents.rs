//! macvlan and ipvlan networks, with our client and with Docker's.

use wharf_e2e::{Engine, eventually};

const SERVE: &str = "mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www";

fn inside(e: &Engine, container: &str, script: &str) -> String {
    e.run(&["exec", container, "sh", "-c", script]).ok()
}

// Without a parent nothing of the host is touched.
#[test]
fn macvlan_without_a_parent() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    let made = e.run(&["network", "create", "-d", "macvlan", "--subnet", "10.215.90.0/24", "lan"]);
    if made.err.contains("this kernel has no macvlan") {
        eprintln!("skipped: {}", made.err);
        return;
    }
    made.ok();
    let serve = ["busybox", "sh", "-c", SERVE];
    e.run(
        &[&["run", "-d", "--name", "c1", "--network", "lan", "--network-alias", "page"][..], &serve].concat(),
    )
    .ok();
    let fixed = ["--ip", "10.215.90.77", "--mac-address", "02:00:00:00:00:77"];
    e.run(&[&["run", "-d", "--name", "c2", "--network", "lan"][..], &fixed, &serve].concat()).ok();
    assert!(inside(&e, "c2", "ip addr show eth0").contains("10.215.90.77/24"));
    assert!(inside(&e, "c2", "ip link show eth0").contains("02:00:00:00:00:77"));
    assert!(inside(&e, "c2", "ip route").contains("default via 10.215.90.1"));
    assert!(inside(&e, "c2", "cat /etc/resolv.conf").contains("nameserver 127.0.0.11"));
    eventually("a page by alias", || e.run(&["exec", "c2", "wget", "-qO-", "http://page/"]).out == "page\n");
    assert_eq!(e.run(&["port", "c1"]).ok(), "");

    let busy = e.run(&["network", "rm", "lan"]);
    assert!(
        busy.err.contains("error while removing network: network lan has active endpoints (name:\"c"),
        "{}",
        busy.err
    );

    // A new engine serves names and knows the addresses.
    e.kill();
    e.launch();
    assert_eq!(inside(&e, "c2", "wget -qO- http://c1/"), "page");
    e.run(&["run", "-d", "--name", "c3", "busybox", "sleep", "1000"]).ok();
    e.run(&["network", "connect", "--alias", "late", "lan", "c3"]).ok();
    assert_eq!(inside(&e, "c3", "wget -qO- http://c2/"), "page");
    assert!(inside(&e, "c2", "nslookup late").contains("late"));
    assert!(e.run(&["stats", "--no-stream", "--format", "{{.NetIO}}", "c2"]).ok().contains("kB"));
    e.run(&["network", "disconnect", "lan", "c3"]).ok();
    assert!(!inside(&e, "c3", "ip -o link").contains("eth1"));
    e.run(&["restart", "-t", "0", "c1"]).ok();
    eventually("the page after a restart", || {
        e.run(&["exec", "c2", "wget", "-qO-", "http://c1/"]).out == "page\n"
    });
    e.run(&["rm", "-f", "c1", "c2", "c3"]).ok();
    e.run(&["network", "rm", "lan"]).ok();
    e.back_to(&before);
}

#[test]
fn refusals() {
    let Some(e) = Engine::start() else { return };
    let refused = |flags: &[&str]| {
        let done = e.run(&[&["network", "create"][..], flags, &["x"]].concat());
        assert_eq!(done.code, 1, "{flags:?}");
        done.err
    };
    assert!(refused(&["--driver", "nope"]).contains("plugin \"nope\" not found"));
    assert!(
        refused(&["-d", "macvlan", "-o", "macvlan_mode=foo"])
            .contains("'bridge' mode is the macvlan driver default")
    );
    assert!(
        refused(&["-d", "macvlan", "-o", "parent=lo"])
            .contains("loopback interface is not a valid macvlan parent")
    );
    let parent = refused(&["-d", "macvlan", "-o", "parent=nope0"]);
    assert!(
        parent.contains("invalid subinterface vlan name nope0") || parent.contains("no macvlan"),
        "{parent}"
    );
    assert!(refused(&["-d", "host"]).contains("only one instance of \"host\" network is allowed"));
    assert!(refused(&["--ipv4=false"]).contains("IPv4 or IPv6 must be enabled"));
    assert!(
        refused(&["--subnet", "10.1.2.3/24"])
            .contains("invalid subnet 10.1.2.3/24: it should be 10.1.2.0/24")
    );
    let made = e.run(&["network", "create", "-d", "ipvlan", "i"]);
    if made.code == 0 {
        e.run(&["run", "--rm", "--network", "i", "busybox", "true"]).ok();
        e.run(&["network", "rm", "i"]).ok();
    } else {
        assert!(made.err.contains("no ipvlan interfaces: load its module ipvlan"), "{}", made.err);
    }
}

#[test]
fn dockers_client_makes_a_macvlan() {
    let Some(e) = Engine::start() else { return };
    let Some(made) =
        e.docker(&["network", "create", "-d", "macvlan", "--subnet", "10.215.91.0/24", "lan"], "")
    else {
        return;
    };
    if made.err.contains("this kernel has no macvlan") {
        eprintln!("skipped: {}", made.err);
        return;
    }
    made.ok();
    let docker = |args: &[&str]| e.docker(args, "").unwrap().ok();
    docker(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--network",
        "lan",
        "--ip",
        "10.215.91.9",
        "busybox",
        "sleep",
        "1000",
    ]);
    let shown = docker(&[
        "network",
        "inspect",
        "--format",
        "{{.Driver}} {{json .IPAM.Config}} {{range .Containers}}{{.IPv4Address}}{{end}}",
        "lan",
    ]);
    assert_eq!(shown, "macvlan [{\"Subnet\":\"10.215.91.0/24\"}] 10.215.91.9/24");
    assert!(docker(&["network", "ls", "--filter", "driver=macvlan"]).contains("lan"));
    docker(&["rm", "-f", "c1"]);
    docker(&["network", "prune", "-f"]);
    assert_eq!(docker(&["network", "ls", "-q", "--filter", "type=custom"]), "");
}
