//! Links, and what else a container may ask of its place in a network.

use wharf_e2e::Engine;

#[test]
fn links_are_names_and_variables_of_one_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "db", "-e", "USER=me", "--expose", "5432", "busybox", "sleep", "1000"])
        .ok();
    let flags = ["--name", "app", "--link", "db:store", "busybox", "sleep", "1000"];
    e.run(&[&["run", "-d"][..], &flags].concat()).ok();
    let address = e.run(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "db"]).ok();
    let hosts = e.run(&["exec", "app", "cat", "/etc/hosts"]).ok();
    assert!(hosts.lines().any(|l| l.starts_with(&format!("{address}\tstore "))), "{hosts}");
    let env = e.run(&["exec", "app", "env"]).ok();
    for line in [
        "STORE_NAME=/app/store".to_owned(),
        format!("STORE_PORT_5432_TCP=tcp://{address}:5432"),
        "STORE_ENV_USER=me".to_owned(),
    ] {
        assert!(env.lines().any(|l| l == line), "{line} in {env}");
    }
    assert_eq!(
        e.run(&["inspect", "--format", "{{json .HostConfig.Links}}", "app"]).ok(),
        r#"["/db:/app/store"]"#
    );
    // Another address of the other one is told.
    e.run(&["stop", "-t", "0", "db"]).ok();
    e.run(&["run", "-d", "--name", "taker", "busybox", "sleep", "1000"]).ok();
    e.run(&["start", "db"]).ok();
    let address = e.run(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "db"]).ok();
    let hosts = e.run(&["exec", "app", "cat", "/etc/hosts"]).ok();
    assert!(hosts.lines().any(|l| l.starts_with(&format!("{address}\tstore "))), "{address} in {hosts}");
    e.run(&["stop", "-t", "0", "db"]).ok();
    let done = e.run(&["run", "--rm", "--link", "db", "busybox", "true"]);
    assert!(done.err.contains("Cannot link to a non running container: /db AS "), "{}", done.err);
    let done = e.run(&["run", "--rm", "--link", "nobody", "busybox", "true"]);
    assert!(done.err.contains("could not get container for nobody"), "{}", done.err);
}

#[test]
fn links_of_a_users_network_follow_the_container() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "--subnet", "172.31.94.0/24", "n1"]).ok();
    e.run(&["run", "-d", "--name", "db", "--network", "n1", "busybox", "sleep", "1000"]).ok();
    let of = ["--network", "n1", "busybox", "sleep", "1000"];
    e.run(&[&["run", "-d", "--name", "app", "--link", "db:store"][..], &of].concat()).ok();
    e.run(&[&["run", "-d", "--name", "other"][..], &of].concat()).ok();
    let ask = |name: &str| e.run(&["exec", name, "nslookup", "store"]).code;
    assert_eq!(ask("app"), 0);
    assert_ne!(ask("other"), 0, "a link is its owner's alone");
    e.run(&["restart", "-t", "0", "db"]).ok();
    assert_eq!(ask("app"), 0);
}

#[test]
fn options_of_an_endpoint() {
    let Some(e) = Engine::start() else { return };
    let subnet = ["--subnet", "172.31.95.0/29", "--gateway", "172.31.95.1"];
    let taken = ["--aux-address", "a=172.31.95.2", "--aux-address", "b=172.31.95.3"];
    e.run(&[&["network", "create"][..], &subnet, &taken, &["n1"]].concat()).ok();
    let network = "name=n1,driver-opt=com.docker.network.endpoint.ifname=lan7,\
                   \"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1\",\
                   link-local-ip=169.254.8.8";
    let done = e.run(&["run", "-d", "--name", "c1", "--network", network, "busybox", "sleep", "1000"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let shown = e.run(&["exec", "c1", "ip", "addr", "show", "dev", "lan7"]).ok();
    assert!(shown.contains("172.31.95.4/29") && shown.contains("169.254.8.8/16"), "{shown}");
    assert_eq!(e.run(&["exec", "c1", "cat", "/proc/sys/net/ipv4/conf/lan7/log_martians"]).ok().trim(), "1");
    assert!(e.run(&["network", "inspect", "n1"]).ok().contains("172.31.95.3"));
}
