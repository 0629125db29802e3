//! Answers to odd requests, as Docker gives them.

use wharf_e2e::Engine;

#[test]
fn names_that_are_no_text_are_not_found() {
    let Some(e) = Engine::start() else { return };
    for (method, path, status, text) in [
        ("GET", "/v1.47/containers/%ff%fe/json", 404, "No such container: \u{fffd}\u{fffd}"),
        ("POST", "/containers/%ff/start", 404, "No such container: \u{fffd}"),
        ("GET", "/v1.47/networks/a%ff", 404, "network a\u{fffd} not found"),
        ("GET", "/v1.47/volumes/%ff", 404, "get \u{fffd}: no such volume"),
    ] {
        let answer = e.ask(method, path, "");
        assert_eq!(answer, (status, serde_json::json!({"message": text}).to_string()), "{path}");
    }
}

#[test]
fn null_in_a_map_is_an_empty_text() {
    let Some(e) = Engine::start() else { return };
    let labels = r#"{"a":null,"b":"c"}"#;
    for (path, rest) in [
        ("/v1.47/volumes/create", r#""Name":"v1""#),
        ("/v1.47/networks/create", r#""Name":"n1","Options":{"x":null}"#),
        ("/v1.47/containers/create?name=c1", r#""Image":"busybox","Cmd":["true"]"#),
    ] {
        let (status, body) = e.ask("POST", path, &format!(r#"{{{rest},"Labels":{labels}}}"#));
        assert_eq!(status, 201, "{path}: {body}");
    }
    for (of, field) in [("v1", "Labels"), ("n1", "Labels"), ("c1", "Config.Labels")] {
        let shown = e.run(&["inspect", "-f", &format!("{{{{json .{field}}}}}"), of]).ok();
        assert_eq!(shown, r#"{"a":"","b":"c"}"#, "{of}");
    }
}

#[test]
fn disk_use_in_detail_takes_a_format() {
    let Some(e) = Engine::start() else { return };
    e.run(&["volume", "create", "v1"]).ok();
    e.run(&["create", "--name", "c1", "busybox", "true"]).ok();
    let df = |format: &str| e.run(&["system", "df", "-v", "--format", format]);
    let all: serde_json::Value = serde_json::from_str(&df("json").ok()).unwrap();
    assert_eq!((&all["Volumes"][0]["Name"], &all["Volumes"][0]["Size"]), (&"v1".into(), &"0B".into()));
    assert_eq!(
        (&all["Containers"][0]["Names"], &all["Images"][0]["Containers"]),
        (&"c1".into(), &"1".into())
    );
    assert!(all["BuildCache"].as_array().unwrap().is_empty());
    assert_eq!(df("{{range .Containers}}{{.Names}} {{.State}}{{end}}").ok(), "c1 created");
    let done = df("{{.Nope}}");
    assert!(done.code == 1 && done.err.contains("Nope"), "{} {}", done.code, done.err);
    assert!(e.run(&["system", "df", "-v"]).ok().contains("Local Volumes space usage:"));
}

#[test]
fn a_context_that_cannot_be_read_hides_no_other() {
    let Some(e) = Engine::start() else { return };
    let create = [
        "context",
        "create",
        "--description",
        "\u{1b}]0;owned\u{7}far",
        "--docker",
        "host=tcp://far:1",
        "far",
    ];
    e.run(&create).ok();
    let meta = e.path("config/contexts/meta/0123");
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::write(meta.join("meta.json"), "{").unwrap();
    let done = e.run(&["context", "ls", "-q"]);
    assert!(done.err.contains("0123/meta.json") && done.err.contains("mend the file"), "{}", done.err);
    assert_eq!(done.ok(), "default\nfar");
    let shown = e.run(&["context", "ls", "--format", "{{.Name}} {{.Description}} {{.DockerEndpoint}}"]).ok();
    assert!(shown.contains("far \\u{1b}]0;owned\\u{7}far tcp://far:1"), "{shown:?}");
    let shown = e.run(&["context", "inspect", "-f", "{{.Metadata.Description}}\t{{.Name}}", "far"]).ok();
    assert_eq!(shown, "\\u{1b}]0;owned\\u{7}far\tfar");
}

#[test]
fn what_docker_takes_or_refuses_by_hand() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    // As people write it for curl.
    let (status, body) =
        e.ask("GET", r#"/v1.47/containers/json?filters={"name":["c1"],"status":["running"]}"#, "");
    assert!(status == 200 && body.contains(r#""/c1""#), "{status}: {body}");
    let (status, body) = e.ask("GET", r#"/containers/json?filters={"bogus":["x"]}"#, "");
    assert_eq!((status, body.as_str()), (400, r#"{"message":"invalid filter 'bogus'"}"#));
    let of_bind = |bind: &str| {
        let body = format!(r#"{{"Image":"busybox","Cmd":["true"],"HostConfig":{{"Binds":["{bind}"]}}}}"#);
        e.ask("POST", "/v1.47/containers/create", &body)
    };
    assert_eq!(of_bind("/anonymous").0, 201);
    for (bind, why) in
        [("v1:/m:ro,rw", "invalid mode: ro,rw"), ("/tmp:/m:nocopy", "VolumeOptions must not be")]
    {
        let (status, body) = of_bind(bind);
        assert!(status == 400 && body.contains(why), "{bind}: {status}: {body}");
    }
    let (status, body) = e.ask("POST", "/containers/c1/attach?stream=1&detachKeys=bogus", "");
    assert!(status == 400 && body.contains("Invalid detach keys (bogus) provided"), "{status}: {body}");
    let done = e.run(&["commit", "--change", "BOGUS x", "c1", "i1"]);
    assert!(done.err.contains("BOGUS is not a valid change command"), "{}", done.err);
}

#[test]
fn a_label_that_is_not_there_is_no_mistake_of_a_template() {
    let Some(e) = Engine::start() else { return };
    e.run(&["create", "--name", "c1", "--label", "a=b", "busybox", "true"]).ok();
    let shown = |format: &str| e.run(&["inspect", "-f", format, "c1"]);
    assert_eq!(shown("{{.Config.Labels.a}} {{.Config.Labels.nope}}").ok(), "b <no value>");
    assert_eq!(shown("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}").ok(), "none");
    assert_eq!(shown("{{.State.Nope}}").code, 1);
}

#[test]
fn old_clients_ask_for_one_network_and_one_sample_is_no_stream() {
    let Some(e) = Engine::start() else { return };
    let two =
        r#"{"Image":"busybox","Cmd":["top"],"NetworkingConfig":{"EndpointsConfig":{"bridge":{},"foo":{}}}}"#;
    let (status, body) = e.ask("POST", "/v1.43/containers/create", two);
    assert!(status == 400 && body.contains("multiple network endpoints: bridge, foo"), "{status} {body}");
    assert_eq!(e.ask("POST", "/v1.44/containers/create", two).0, 201);
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let (status, body) = e.ask("GET", "/containers/c1/stats?one-shot=1", "");
    assert!(status == 400 && body.contains("cannot have stream=true and one-shot=true"), "{status} {body}");
    assert_eq!(e.ask("GET", "/containers/c1/stats?one-shot=1&stream=0", "").0, 200);
    let (status, body) = e.ask("POST", "/containers/c1/exec", r#"{"Cmd":"echo hi"}"#);
    assert!(status == 400 && body.contains("invalid JSON"), "{status} {body}");
    assert_eq!(e.ask("POST", "/containers/create", r#"{"Image":"busybox","Cmd":"top"}"#).0, 201);
}

#[test]
fn who_has_no_network_of_its_own_asks_nothing_of_it() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "--expose", "80", "busybox", "sleep", "1000"]).ok();
    for network in ["container:c1", "host", "none"] {
        let done = e.run(&["create", "--network", network, "--ip", "1.2.3.4", "busybox", "true"]);
        let text = format!("invalid config for network {network}: invalid endpoint settings:\n");
        assert!(done.code == 1 && done.err.contains(&text), "{network}: {}", done.err);
        assert!(done.err.contains("supported on user defined networks only"), "{network}: {}", done.err);
    }
    let alias = r#"{"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["a"]}}}}"#;
    let (status, body) = e.ask("POST", "/containers/create", alias);
    assert!(status == 400 && body.contains("network-scoped alias is supported only"), "{status} {body}");
    let ports = || e.run(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "c1"]).ok();
    assert_eq!(ports(), r#"{"80/tcp":null}"#);
    e.run(&["network", "disconnect", "bridge", "c1"]).ok();
    assert_eq!(ports(), "{}");
}

#[test]
fn older_versions_have_what_they_had() {
    let Some(e) = Engine::start() else { return };
    e.run(&["network", "create", "net1"]).ok();
    let shown = |path: &str| serde_json::from_str::<serde_json::Value>(&e.get(path)).unwrap();
    let image = |version: &str| shown(&format!("/v{version}/images/busybox/json"));
    assert!(image("1.43")["VirtualSize"].is_number() && image("1.44")["VirtualSize"].is_null());
    assert!(image("1.44")["ContainerConfig"].is_object() && image("1.45")["ContainerConfig"].is_null());
    for (version, ipc) in [("1.39", "shareable"), ("1.40", "private")] {
        let path = format!("/v{version}/containers/create?name=c{version}");
        let (status, body) =
            e.ask("POST", &path, r#"{"Image":"busybox","Cmd":["true"],"HostConfig":{"NetworkMode":"net1"}}"#);
        assert_eq!(status, 201, "{body}");
        assert_eq!(shown(&format!("/containers/c{version}/json"))["HostConfig"]["IpcMode"], ipc);
    }
    let short = e.run(&["ps", "-aqf", "name=c1.39"]).ok();
    let aliases = |version: &str| {
        let of = shown(&format!("/v{version}/containers/c1.39/json"));
        of["NetworkSettings"]["Networks"]["net1"]["Aliases"].clone()
    };
    assert_eq!((aliases("1.44"), aliases("1.45")), (serde_json::json!([short]), serde_json::Value::Null));
    e.run(&["volume", "create", "v1"]).ok();
    assert!(e.ask("POST", "/v1.42/volumes/prune", "").1.contains(r#""VolumesDeleted":[]"#));
    assert!(e.ask("POST", "/v1.41/volumes/prune", "").1.contains("v1"));
}

#[test]
fn a_step_shares_a_containers_network() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "c1", "--hostname", "donor", "busybox", "sleep", "100"]).ok();
    let address = e.run(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "c1"]).ok();
    let site = e.path("site");
    wharf_e2e::put(&site, "Dockerfile", "FROM busybox\nRUN ip addr show eth0 > /addresses\n");
    e.run(&["build", "-q", "--network", "container:c1", "-t", "i1", &site.display().to_string()]).ok();
    let seen = e.run(&["run", "--rm", "i1", "cat", "/addresses"]).ok();
    assert!(seen.contains(&address), "{seen}, {address}");
}

#[test]
fn a_pull_that_fails_at_once_has_a_status() {
    let Some(e) = Engine::start() else { return };
    // A registry that has no such image.
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = registry.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        for stream in registry.incoming() {
            let Ok(mut stream) = stream else { return };
            let read = BufReader::new(stream.try_clone().unwrap());
            for line in read.lines() {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let (status, body) = e.ask("POST", &format!("/images/create?fromImage={host}/i1&tag=latest"), "");
    assert_eq!(status, 404, "{body}");
    let (status, body) = e.ask("POST", "/images/create?fromImage=i1&tag=1&platform=foo", "");
    let why = r#"\"foo\": unknown operating system or architecture: invalid argument"#;
    assert!(status == 400 && body.contains(why), "{status} {body}");
}
