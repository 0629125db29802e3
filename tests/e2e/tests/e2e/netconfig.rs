//! Networks that are only a configuration, and those that take theirs from one.

use wharf_e2e::Engine;

fn answers(e: &Engine, cases: &[(&str, u16, &str)]) {
    for (body, status, text) in cases {
        let answer = e.ask("POST", "/v1.47/networks/create", body);
        assert_eq!(answer, (*status, serde_json::json!({"message": text}).to_string()), "{body}");
    }
}

#[test]
fn a_configuration_is_taken_over() {
    let Some(mut e) = Engine::start() else { return };
    e.run(&["run", "--rm", "busybox", "true"]).ok();
    let before = e.holdings();
    let create = [
        "network",
        "create",
        "--config-only",
        "--subnet",
        "10.211.77.0/24",
        "--gateway",
        "10.211.77.9",
        "--ip-range",
        "10.211.77.128/25",
        "--aux-address",
        "h=10.211.77.129",
        "--label",
        "x=y",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "conf",
    ];
    e.run(&create).ok();
    e.back_to(&before);
    let shown = e.run(&[
        "network",
        "inspect",
        "-f",
        "{{.Driver}} {{.ConfigOnly}} {{json .IPAM.Config}} {{json .Options}}",
        "conf",
    ]);
    assert_eq!(
        shown.ok(),
        r#"null true [{"AuxiliaryAddresses":{"h":"10.211.77.129"},"Gateway":"10.211.77.9","IPRange":"10.211.77.128/25","Subnet":"10.211.77.0/24"}] {"com.docker.network.driver.mtu":"1400"}"#
    );
    // It is kept, and means nothing to the kernel of the next engine either.
    e.kill();
    e.launch();
    e.run(&["network", "create", "--config-from", "conf", "used"]).ok();
    let shown = e.run(&[
        "network",
        "inspect",
        "-f",
        "{{.Driver}} {{.ConfigOnly}} {{.ConfigFrom.Network}} {{.Labels.x}}",
        "used",
    ]);
    assert_eq!(shown.ok(), "bridge false conf y");
    let script = "ip -4 -o addr show eth0 | awk '{print $4}'; ip route | awk '/default/ {print $3}'; cat /sys/class/net/eth0/mtu";
    assert_eq!(
        e.run(&["run", "--rm", "--network", "used", "busybox", "sh", "-c", script]).ok(),
        "10.211.77.128/24\n10.211.77.9\n1400"
    );
    // The block is given out once.
    let done = e.run(&["network", "create", "--config-from", "conf", "second"]);
    assert!(done.err.contains("invalid pool request: Pool overlaps"), "{}", done.err);
    let done = e.run(&["network", "rm", "conf"]);
    let text = "error while removing network: configuration network \"conf\" is in use";
    assert!(done.code == 1 && done.err.contains(text), "{}", done.err);
    assert_eq!(e.run(&["network", "prune", "-f"]).ok(), "Deleted Networks:\nused");
    assert!(e.run(&["network", "ls", "-f", "driver=null", "--format", "{{.Name}}"]).ok().contains("conf"));
    e.run(&["network", "rm", "conf"]).ok();
}

#[test]
fn what_contradicts_it_is_refused_in_dockers_words() {
    let Some(e) = Engine::start() else { return };
    let operator = "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.";
    let own =
        "user specified configurations are not supported if the network depends on a configuration network";
    e.run(&["network", "create", "--config-only", "-d", "bogus", "k1"]).ok();
    e.run(&["network", "create", "k2"]).ok();
    answers(
        &e,
        &[
            (
                r#"{"Name":"n","ConfigFrom":{"Network":"nope"}}"#,
                404,
                "configuration network \"nope\" does not exist",
            ),
            (
                r#"{"Name":"n","ConfigFrom":{"Network":"k2"}}"#,
                404,
                "configuration network \"k2\" does not exist",
            ),
            (
                r#"{"Name":"n","ConfigFrom":{"Network":"k1"},"Options":{"a":"b"}}"#,
                403,
                "network driver options are not supported if the network depends on a configuration network",
            ),
            (r#"{"Name":"n","ConfigFrom":{"Network":"k1"},"Labels":{"a":"b"}}"#, 403, own),
            (r#"{"Name":"n","ConfigFrom":{"Network":"k1"},"EnableIPv6":true}"#, 403, own),
            (r#"{"Name":"n","ConfigFrom":{"Network":"k1"},"IPAM":{"Driver":"null"}}"#, 403, own),
            (
                r#"{"Name":"n","ConfigFrom":{"Network":"k1"},"IPAM":{"Config":[{"Subnet":"10.211.78.0/24"}]}}"#,
                403,
                own,
            ),
            (
                r#"{"Name":"n","ConfigOnly":true,"ConfigFrom":{"Network":"k1"}}"#,
                403,
                "a configuration network cannot depend on another configuration network",
            ),
            (r#"{"Name":"n","ConfigOnly":true,"Internal":true}"#, 403, operator),
            (r#"{"Name":"n","ConfigOnly":true,"Attachable":true}"#, 403, operator),
            (r#"{"Name":"n","ConfigOnly":true,"Ingress":true}"#, 403, operator),
            (r#"{"Name":"n","ConfigOnly":true,"Scope":"swarm"}"#, 403, operator),
            (r#"{"Name":"k1","ConfigOnly":true}"#, 409, "network with name k1 already exists"),
        ],
    );
    let text = "cannot create endpoint on configuration-only network";
    e.run(&["create", "--name", "c1", "--network", "k1", "busybox", "true"]).ok();
    let answer = e.ask("POST", "/v1.47/containers/c1/start", "");
    let set_up = format!("failed to set up container networking: {text}");
    assert_eq!(answer, (403, serde_json::json!({"message": set_up}).to_string()));
    e.run(&["run", "-d", "--name", "c2", "busybox", "sleep", "1000"]).ok();
    let answer = e.ask("POST", "/v1.47/networks/k1/connect", r#"{"Container":"c2"}"#);
    assert_eq!(answer, (403, serde_json::json!({"message": text}).to_string()));
}

#[test]
fn scopes_are_kept_and_mean_nothing() {
    let Some(e) = Engine::start() else { return };
    answers(
        &e,
        &[
            (
                r#"{"Name": "n", "Scope": "swarm"}"#,
                403,
                "cannot create a swarm scoped network when swarm is not active",
            ),
            (r#"{"Name": "n", "Ingress": true}"#, 403, "Ingress network can only be global scope network"),
            (
                r#"{"Name": "n", "Ingress": true, "Scope": "global"}"#,
                403,
                "Ingress network can only be global scope network",
            ),
        ],
    );
    e.run(&["network", "create", "--scope", "global", "--attachable", "wide"]).ok();
    let format = "{{.Scope}} {{.Attachable}} {{json .IPAM.Options}}";
    assert_eq!(e.run(&["network", "inspect", "-f", format, "wide"]).ok(), "global true {}");
    let named = |filter: &str| e.run(&["network", "ls", "-f", filter, "--format", "{{.Name}}"]).ok();
    assert_eq!(named("scope=global"), "wide");
    assert_eq!(named("scope=local"), "bridge\nhost\nnone");
    assert_eq!(e.run(&["run", "--rm", "--network", "wide", "busybox", "echo", "on"]).ok(), "on");
}
