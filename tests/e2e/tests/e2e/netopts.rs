//! Options of networks and of containers' places in them, and what the lists of networks show.

use wharf_e2e::Engine;

fn inside(e: &Engine, container: &str, script: &str) -> String {
    e.run(&["exec", container, "sh", "-c", script]).ok()
}

#[test]
fn places_have_options_of_their_own() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "10.215.94.0/24", "--ipv6", "--subnet", "fd00:94::/64", "n1"])
        .ok();
    e.run(&["network", "create", "--internal", "--subnet", "10.215.95.0/24", "n2"]).ok();
    let place = "name=n1,alias=a,ip=10.215.94.9,ip6=fd00:94::9,mac-address=02:00:00:00:00:99";
    let flags =
        ["--network", place, "--network", "name=n2,alias=b", "--dns", "9.9.9.9", "--dns-search", "ex.org"];
    let more = ["--dns-opt", "ndots:3", "--add-host", "x:host-gateway", "busybox", "sleep", "1000"];
    e.run(&[&["run", "-d", "--name", "c1"][..], &flags, &more].concat()).ok();
    let addresses = inside(&e, "c1", "ip addr");
    for part in ["10.215.94.9/24", "fd00:94::9/64", "02:00:00:00:00:99", "10.215.95."] {
        assert!(addresses.contains(part), "{part} in {addresses}");
    }
    let resolv = inside(&e, "c1", "cat /etc/resolv.conf");
    for part in ["search ex.org", "options ndots:3", "nameserver 10.215.94.1"] {
        assert!(resolv.contains(part), "{part} in {resolv}");
    }
    // musl asks all servers at once: one that knows no container would deny their names.
    assert!(!resolv.contains("9.9.9.9"), "asked by the engine: {resolv}");
    let host =
        e.run(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"]).ok();
    assert!(inside(&e, "c1", "cat /etc/hosts").contains(&format!("{host}\tx\n")), "the engine's own bridge");
    e.run(&["run", "--rm", "--network", "n2", "busybox", "ping", "-c", "1", "b"]).ok();
    // An internal network has no way out, not even to the engine's other networks.
    let route = e.run(&["run", "--rm", "--network", "n2", "busybox", "ip", "route"]).ok();
    assert!(!route.contains("default"), "{route}");
    let busy = e.run(&["run", "--rm", "--network", "n1", "--ip", "10.215.94.9", "busybox", "true"]);
    assert!(
        busy.err.contains("failed to set up container networking: Address already in use"),
        "{}",
        busy.err
    );
    let outside = e.run(&["run", "--rm", "--network", "n1", "--ip", "10.99.0.9", "busybox", "true"]);
    assert!(
        outside.err.contains("no configured subnet or ip-range contain the IP address 10.99.0.9"),
        "{}",
        outside.err
    );
}

#[test]
fn bridges_have_options() {
    let Some(e) = Engine::start() else { return };
    let option = |text: &'static str| ["-o", text];
    let flags = [
        option("com.docker.network.driver.mtu=1400"),
        option("com.docker.network.bridge.enable_icc=false"),
        option("com.docker.network.bridge.host_binding_ipv4=127.0.0.1"),
    ]
    .concat();
    e.run(&[&["network", "create", "--subnet", "10.215.96.0/24"][..], &flags, &["n1"]].concat()).ok();
    e.run(&["run", "-d", "--name", "c1", "--network", "n1", "-p", "80", "busybox", "sleep", "1000"]).ok();
    assert!(inside(&e, "c1", "ip link show eth0").contains("mtu 1400"));
    assert!(e.run(&["port", "c1"]).ok().starts_with("80/tcp -> 127.0.0.1:"));
    let kept_apart =
        e.run(&["run", "--rm", "--network", "n1", "busybox", "ping", "-c", "1", "-W", "1", "c1"]);
    assert_ne!(kept_apart.code, 0);
    let routed = option("com.docker.network.bridge.gateway_mode_ipv4=routed");
    e.run(&[&["network", "create", "--subnet", "10.215.97.0/24"][..], &routed, &["n2"]].concat()).ok();
    e.run(&["run", "-d", "--name", "c2", "--network", "n2", "-p", "8300:80", "busybox", "sleep", "1000"])
        .ok();
    assert_eq!(e.run(&["port", "c2"]).ok(), "80/tcp -> 0.0.0.0:");
    let isolated = ["--internal", "-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated"];
    e.run(&[&["network", "create", "--subnet", "10.215.98.0/24"][..], &isolated, &["n3"]].concat()).ok();
    e.run(&["run", "-d", "--name", "c3", "--network", "n3", "busybox", "sleep", "1000"]).ok();
    e.run(&["run", "--rm", "--network", "n3", "busybox", "ping", "-c", "1", "c3"]).ok();
    for (bad, words) in [
        ("com.docker.network.bridge.enable_icc=zz", "(strconv.ParseBool: parsing \"zz\": invalid syntax)"),
        ("com.docker.network.driver.mtu=zz", "(strconv.Atoi: parsing \"zz\": invalid syntax)"),
        ("com.docker.network.bridge.gateway_mode_ipv4=isolated", "can only be used for an internal network"),
    ] {
        let refused = e.run(&["network", "create", "-o", bad, "x"]);
        assert!(refused.code == 1 && refused.err.contains(words), "{}", refused.err);
    }
}

#[test]
fn lists_and_prune_obey_filters() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--label", "a=b", "--subnet", "10.215.99.0/25", "n1"]).ok();
    e.run(&["network", "create", "--subnet", "10.215.99.128/25", "n2"]).ok();
    e.run(&["run", "-d", "--network", "n2", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let names = |filters: &[&str]| {
        let flags: Vec<&str> = filters.iter().flat_map(|f| ["--filter", *f]).collect();
        e.run(&[&["network", "ls", "--format", "{{.Name}}"][..], &flags].concat()).ok().replace('\n', " ")
    };
    assert_eq!(names(&["type=custom"]), "n1 n2");
    assert_eq!(names(&["dangling=true"]), "n1");
    assert_eq!(names(&["driver=null"]), "none");
    assert_eq!(names(&["label=a=b"]), "n1");
    assert_eq!(names(&["name=n1", "name=n2"]), "n1 n2");
    assert_eq!(names(&["scope=swarm"]), "");
    for (filter, words) in [
        ("bogus=1", "invalid filter 'bogus'"),
        ("type=zz", "invalid filter: 'type'='zz'"),
        (
            "dangling=zz",
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        ),
    ] {
        assert!(e.run(&["network", "ls", "--filter", filter]).err.contains(words), "{filter}");
    }
    e.run(&["network", "prune", "-f", "--filter", "until=1h"]).ok();
    assert_eq!(names(&["type=custom"]), "n1 n2", "too young");
    let overlap = e.run(&["network", "create", "--subnet", "10.215.99.0/26", "n3"]);
    assert!(
        overlap.err.contains("invalid pool request: Pool overlaps with other one on this address space"),
        "{}",
        overlap.err
    );
    e.run(&["network", "prune", "-f"]).ok();
    assert_eq!(names(&["type=custom"]), "n2");
    assert_eq!(e.run(&["network", "rm", "-f", "zzz"]).code, 0);
    assert_eq!(e.run(&["network", "rm", "zzz"]).code, 1);
    let shown =
        e.run(&["network", "inspect", "--format", "{{json .IPAM.Config}} {{json .Options}}", "n2"]).ok();
    assert_eq!(shown, "[{\"Subnet\":\"10.215.99.128/25\"}] {}");
    let own = e.run(&[
        "network",
        "inspect",
        "--format",
        "{{index .Options \"com.docker.network.bridge.default_bridge\"}}",
        "bridge",
    ]);
    assert_eq!(own.ok(), "true");
}

#[test]
fn the_way_out_is_dockers() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "10.215.101.0/24", "n1"]).ok();
    e.run(&["network", "create", "--subnet", "10.215.102.0/24", "--ipv6", "--subnet", "fd00:102::/64", "n2"])
        .ok();
    e.run(&["network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd00:103::/64", "n3"]).ok();
    let routes = |name: &str| inside(&e, name, "ip route; ip -6 route");
    e.run(&["run", "-d", "--name", "c1", "--network", "n1", "--network", "n2", "busybox", "sleep", "1000"])
        .ok();
    let found = routes("c1");
    for way in ["default via 10.215.102.1", "default via fd00:102::1"] {
        assert!(found.contains(way), "without {way} one family had none: {found}");
    }
    assert!(inside(&e, "c1", "ip addr show eth0").contains("10.215.101."), "the first network is eth0");
    e.run(&["network", "disconnect", "n2", "c1"]).ok();
    assert!(routes("c1").contains("default via 10.215.101.1"), "{}", routes("c1"));
    e.run(&["network", "connect", "n3", "c1"]).ok();
    let found = routes("c1");
    for way in ["default via 10.215.101.1", "default via fd00:103::1"] {
        assert!(found.contains(way), "a family a network: {found}");
    }
}

#[test]
fn name_servers_of_its_own_hide_no_names() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "n1"]).ok();
    e.run(&["run", "-d", "--name", "server", "--network", "n1", "busybox", "sleep", "1000"]).ok();
    let asking = ["run", "--rm", "--network", "n1", "--dns", "192.0.2.1", "busybox"];
    e.run(&[&asking[..], &["ping", "-c", "1", "server"]].concat()).ok();
    // musl asks all servers at once, and believes the first that says that there is no such name.
    let resolv = e.run(&["run", "--rm", "--network", "n1", "busybox", "cat", "/etc/resolv.conf"]).ok();
    let servers: Vec<&str> = resolv.lines().filter(|l| l.starts_with("nameserver")).collect();
    let gateway = e.run(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "n1"]).ok();
    assert_eq!(servers, [format!("nameserver {gateway}")]);
}

#[test]
fn who_shares_a_network_shares_its_names() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "donor", "-h", "given", "--add-host", "a:192.0.2.7", "busybox", "top"])
        .ok();
    let script =
        "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c 192.0.2.7 /etc/hosts; ping -qc1 given >&2";
    let sharing = ["run", "--rm", "--network", "container:donor"];
    let seen = e.run(&[&sharing[..], &["busybox", "sh", "-c", script]].concat()).ok();
    assert_eq!(seen, "given\ngiven\ngiven\n1");
    for (flags, what) in [
        (["--hostname", "x"], "hostname and the network mode"),
        (["--dns", "192.0.2.1"], "dns and the network mode"),
        (["--add-host", "a:192.0.2.1"], "custom host-to-IP mapping"),
        (["--expose", "80"], "port exposing"),
    ] {
        let done = e.run(&[&sharing[..], &flags[..], &["busybox", "true"]].concat());
        assert!(done.code == 125 && done.err.contains(what), "{flags:?}: {}", done.err);
    }
    // Who shares the host's has its name, or one of its own; never does it name the host.
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let of_host = |more: &[&str]| e.run(&[&["run", "--rm", "--network", "host"], more].concat()).ok();
    assert_eq!(of_host(&["-h", "own", "busybox", "hostname"]), "own");
    assert_eq!(
        of_host(&["busybox", "sh", "-c", "echo $HOSTNAME; cat /etc/hostname"]),
        format!("{host}\n{host}")
    );
    of_host(&["--privileged", "busybox", "hostname", "renamed"]);
    assert_eq!(rustix::system::uname().nodename().to_string_lossy(), host);
}
