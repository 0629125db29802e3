//! Every attribute of a service, through both clients: the engine says the same of the containers.

use crate::compose::{Client, Project, clients};
use serde_json::Value;
use wharf_e2e::Engine;

/// One service of every attribute that one container can have, in several, for some exclude each other.
pub(crate) const FILE: &str = r#"
services:
  web:
    image: busybox
    command: sleep 100
    entrypoint: [env]
    hostname: hh
    domainname: dd.x
    user: "1:1"
    working_dir: /tmp
    tty: true
    stdin_open: true
    init: true
    ports: ["127.0.0.1:48181:80", "49000-49001:90-91/udp", {target: 443, published: 48443, host_ip: 127.0.0.1}, "99"]
    expose: ["90/udp", "95/tcp"]
    volumes:
      - data:/data:ro
      - ./src:/src:ro
      - /anon
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o1777}}
      - {type: volume, source: data, target: /nc, volume: {nocopy: true}}
      - {type: bind, source: ./src, target: /b, read_only: true, bind: {propagation: rprivate}}
      - {type: bind, source: ./src, target: /b3, bind: {create_host_path: false}}
    networks:
      front: {aliases: [w], ipv4_address: 10.77.3.5, mac_address: "02:42:ac:11:00:03", priority: 10, gw_priority: 3}
      back:
    healthcheck: {test: "true", interval: 90s, timeout: 2s, retries: 2, start_period: 1s, start_interval: 1s}
    deploy: {resources: {limits: {cpus: "0.3", memory: 50m, pids: 20}, reservations: {memory: 20m}}, restart_policy: {condition: on-failure, max_attempts: 3}}
    labels: [x=y, z]
    annotations: {an: "no"}
    extra_hosts: ["h=1.2.3.4", "g=host-gateway"]
    stop_signal: SIGUSR1
    stop_grace_period: 90s
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 99}
    cap_add: [NET_ADMIN]
    cap_drop: [CHOWN]
    tmpfs: ["/run:size=1m", /foo]
    sysctls: {net.ipv4.ip_forward: 1}
    devices: ["/dev/null:/dev/xnull:r"]
    device_cgroup_rules: ["c 1:3 mr"]
    logging: {driver: json-file, options: {max-size: 1m}}
    dns: 1.1.1.1
    dns_search: a.b
    dns_opt: [ndots:2]
    security_opt: [no-new-privileges]
    group_add: [web, 10]
    secrets: [tok, {source: env, target: x, mode: 0400, uid: "3"}]
    configs: [{source: cc, target: /etc/cc}, cf]
    env_file: app.env
    environment: {A: 1, B: }
    depends_on: {db: {condition: service_started, restart: true}}
    links: ["db:store"]
  db:
    image: busybox
    command: sleep 1000
    networks: [back]
    restart: on-failure:4
    mem_limit: 20m
    memswap_limit: 40m
    mem_reservation: 10m
    cpus: 1.5
    cpu_shares: 10
    cpuset: "0"
    pids_limit: 50
    shm_size: 1m
    oom_score_adj: 10
    privileged: true
    read_only: true
    pid: host
    ipc: shareable
    cgroup: host
  more:
    image: busybox
    command: sleep 1000
    network_mode: "service:db"
    ipc: "service:db"
    volumes_from: [db]
    cpu_quota: 50000
    blkio_config:
      weight: 300
      weight_device: [{path: /dev/null, weight: 400}]
      device_read_bps: [{path: /dev/null, rate: 12mb}]
      device_read_iops: [{path: /dev/null, rate: 120}]
      device_write_bps: [{path: /dev/null, rate: "1024k"}]
      device_write_iops: [{path: /dev/null, rate: 30}]
    cpu_period: 100000
    healthcheck: {disable: true}
    restart: always
    userns_mode: host
    security_opt: ["systempaths=unconfined", "seccomp=unconfined"]
  none: {image: busybox, command: "", entrypoint: sleep 5, network_mode: none, uts: host, scale: 2}
networks:
  front: {ipam: {config: [{subnet: 10.77.3.0/24, gateway: 10.77.3.1, ip_range: 10.77.3.0/25}]}, labels: {n: 1}, attachable: true, driver_opts: {com.docker.network.bridge.name: wcmp0}}
  back: {internal: true, ipam: {config: [{subnet: 10.77.4.0/24}]}}
volumes: {data: {labels: {v: 1}}}
secrets: {tok: {file: ./tok}, env: {environment: HOME}}
configs: {cc: {content: hello}, cf: {file: ./tok}}
"#;

/// What differs between two containers that are the same: who they are, and when.
const OWN: [&str; 12] = [
    "Id",
    "Created",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "LogPath",
    "GraphDriver",
    "NetworkID",
    "StartedAt",
    "FinishedAt",
    "SandboxID",
    "SandboxKey",
];

pub(crate) fn without_own(value: &mut Value, ids: &[(String, String)]) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !OWN.contains(&key.as_str()));
            map.values_mut().for_each(|value| without_own(value, ids));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|value| without_own(value, ids));
            // The order of mounts and binds is nobody's promise.
            items.sort_by_key(ToString::to_string);
        }
        Value::String(text) => ids.iter().for_each(|(id, name)| *text = text.replace(id, name)),
        _ => {}
    }
}

#[test]
fn containers_are_the_same_from_both_clients() {
    let Some(e) = Engine::start() else { return };
    let project = Project::new(&e, "attributes", FILE);
    project.write("app.env", "X=1\n");
    project.write("tok", "secret\n");
    project.write("src/file", "here\n");
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for client in clients() {
        let Some(done) = project.with(client, &["create"]) else { continue };
        done.ok();
        let names = ["web-1", "db-1", "more-1", "none-1", "none-2"].map(|name| format!("attributes-{name}"));
        let mut ids: Vec<(String, String)> =
            names.iter().map(|name| (project.shown(name, "{{.Id}}"), name.clone())).collect();
        for (id, name) in ids.clone() {
            ids.push((id[..12].to_owned(), name));
        }
        let mut all: Vec<Value> = names.iter().map(|name| project.inspect(name)).collect();
        for what in [
            &["network", "inspect", "attributes_front", "attributes_back"][..],
            &["volume", "inspect", "attributes_data"],
        ] {
            all.push(serde_json::from_str(&e.run(what).ok()).unwrap());
        }
        let anonymous: Vec<(String, String)> = e
            .run(&["volume", "ls", "-q"])
            .ok()
            .lines()
            .filter(|name| name.len() == 64)
            .map(|name| (name.to_owned(), "anonymous".to_owned()))
            .collect();
        ids.extend(anonymous);
        // This one's hash has the id of a container that it shares with.
        if let Some(labels) = all[2]["Config"]["Labels"].as_object_mut() {
            labels.remove("com.docker.compose.config-hash");
        }
        all.iter_mut().for_each(|value| {
            without_own(value, &ids);
            if let Some(map) =
                value.as_array_mut().and_then(|items| items.first_mut()).and_then(Value::as_object_mut)
            {
                map.remove("CreatedAt");
            }
        });
        seen.push(all);
        project.with(client, &["down", "-v"]).unwrap().ok();
    }
    if let [ours, theirs] = seen.as_slice() {
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(
                serde_json::to_string_pretty(ours).unwrap(),
                serde_json::to_string_pretty(theirs).unwrap()
            );
        }
    }
}

#[test]
fn what_attributes_do() {
    let Some(e) = Engine::start() else { return };
    let file = r#"
services:
  web:
    image: busybox
    command: sleep 1000
    stop_signal: SIGKILL
    environment: {A: "1"}
    env_file: [{path: app.env, format: raw}]
    secrets: [tok, {source: tok, target: owned, uid: "33", mode: 0440}, {source: env, target: other, mode: 0400, uid: "33"}]
    configs: [{source: cc, target: /etc/cc}]
    extra_hosts: [far=10.1.2.3]
    tmpfs: /scratch
    working_dir: /etc
    post_start: [{command: [sh, -c, "echo $$H > /after"], environment: [H=hook]}]
    pre_stop: [{command: touch /srv/left}]
    volumes: ["./out:/srv", {type: image, source: busybox, target: /img, image: {subpath: etc}}]
    init: true
  once: {image: busybox, command: "true"}
  after: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, depends_on: {once: {condition: service_completed_successfully}, web: {condition: service_started}}}
  several: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, deploy: {replicas: 3}}
secrets: {tok: {file: ./tok}, env: {environment: SOME_SECRET}}
configs: {cc: {content: "for ${COMPOSE_PROJECT_NAME}"}}
"#;
    let project = Project::new(&e, "effects", file);
    project.write("app.env", "RAW='$x'\n");
    project.write("tok", "from a file\n");
    project.write(".env", "SOME_SECRET=whisper\n");
    project.ours(&["up", "-d"]).ok();
    let inside = |command: &str| project.ours(&["exec", "-T", "web", "sh", "-c", command]).ok();
    assert_eq!(inside("echo $A $RAW; pwd"), "1 '$x'\n/etc");
    assert_eq!(inside("cat /run/secrets/tok /run/secrets/other /etc/cc"), "from a file\nwhisperfor effects");
    assert_eq!(inside("stat -c '%a %u' /run/secrets/other /run/secrets/owned"), "400 33\n440 33");
    assert_eq!(inside("grep far /etc/hosts; cat /after; ls /img/passwd"), "10.1.2.3\tfar\nhook\n/img/passwd");
    assert!(inside("mount").contains(" on /scratch type tmpfs"));
    assert_eq!(project.shown("effects-after-1", "{{.State.Running}}"), "true");
    // The name of a service is that of all its containers.
    let addresses = inside(
        "nslookup several 2>/dev/null | grep -c '^Address.*10\\.\\|^Address.*172\\.\\|^Address.*192\\.'",
    );
    assert!(addresses.parse::<usize>().unwrap() >= 3, "{addresses}");
    project.ours(&["stop", "web"]).ok();
    assert!(project.path("out/left").exists(), "pre_stop has run");
    project.ours(&["down"]).ok();
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let Some(e) = Engine::start() else { return };
    for (name, service, expected) in [
        ("attested", "build: {context: ., provenance: mode=max}", "Attestation is not supported"),
        (
            "several",
            "build: {context: ., platforms: [linux/amd64, linux/arm64]}",
            "Multi-platform build is not supported",
        ),
        ("isolated", "build: {context: ., isolation: hyperv}", "unsupported isolation: \"hyperv\""),
        ("credentials", "image: busybox\n    credential_spec: {file: x}", "credential_spec"),
        ("ssh", "build: {context: ., ssh: [default=/nonexistent]}", "open the SSH agent /nonexistent"),
    ] {
        let file = format!("services:\n  web:\n    {service}\nmodels: {{m: {{model: x}}}}\n");
        let project = Project::new(&e, name, &file);
        project.write("Dockerfile", "FROM busybox\n");
        let done = project.ours(&["up", "-d"]);
        assert!(done.code == 1 && done.err.contains(expected), "{}", done.err);
        assert_eq!(project.with(Client::Ours, &["ps", "-aq"]).unwrap().ok(), "");
    }
}
