//! The same projects through both clients and on both engines: ours, and the Docker whose socket `WHARF_E2E_DOCKER` names.
//! What `config` prints and what `inspect` says is compared attribute by attribute.
//!
//! Docker has to see the tests' directories where they are: `TMPDIR` may name one that it sees.

use crate::compose::{Client, Project, clients};
use crate::compose_attributes::{FILE, without_own};
use serde_json::Value;
use std::process::Command;
use wharf_e2e::{Done, Engine, binary, run_limited};

/// Projects beside the one of all attributes: forms that files of real life have.
const PROJECTS: [(&str, &str); 6] = [
    (
        "short",
        "services:\n  web: {image: busybox, command: 'sleep 5', ports: ['8088:80', '[::1]:8089:81', '127.0.0.1:9000-9002:90-92/udp'], expose: [7, '8-9/udp'], environment: [A=1, B], labels: [a, b=c], volumes: [data:/d, /anon, './x:/x:ro,z'], tmpfs: /t, dns: 9.9.9.9}\nvolumes: {data: }\n",
    ),
    (
        "deployed",
        "services:\n  web:\n    image: busybox\n    command: sleep 5\n    deploy: {mode: global, endpoint_mode: vip, replicas: 2, placement: {constraints: [node.role==manager]}, rollback_config: {parallelism: 2}, update_config: {monitor: 5s, failure_action: pause, max_failure_ratio: 0.5}, restart_policy: {condition: on-failure, delay: 3s, window: 10s, max_attempts: 2}, resources: {limits: {cpus: '0.25', memory: 32M, pids: 9}, reservations: {memory: 8M}}}\n",
    ),
    (
        "anchored",
        "x-base: &base {image: busybox, command: [sleep, '5'], logging: {driver: none}}\nx-more: &more {stop_grace_period: 1m30s, init: true}\nservices:\n  a: {<<: [*base, *more], hostname: h}\n  b: {<<: *base, network_mode: 'service:a', ipc: 'service:a', pid: 'service:a', depends_on: [a]}\n",
    ),
    (
        "networked",
        "services:\n  web: {image: busybox, command: sleep 5, mac_address: '02:42:0a:4d:05:09', networks: {one: {aliases: [x], ipv4_address: 10.77.6.9, driver_opts: {a: b}}, two: {priority: 9, gw_priority: 2, link_local_ips: [169.254.7.7]}}, extra_hosts: {h: 1.2.3.4, i: ['1.1.1.1', '::1']}}\nnetworks:\n  one: {ipam: {driver: default, config: [{subnet: 10.77.6.0/24, aux_addresses: {r: 10.77.6.2}}]}, labels: {l: v}}\n  two: {driver_opts: {com.docker.network.bridge.enable_icc: 'false'}, enable_ipv6: true, ipam: {config: [{subnet: 'fd00:77::/64'}, {subnet: 10.77.7.0/24}]}}\n",
    ),
    (
        "checked",
        "services:\n  web: {image: busybox, command: sleep 5, healthcheck: {test: [CMD, 'true'], interval: 1m, timeout: 3s, retries: 4, start_period: 2s, start_interval: 500ms}}\n  shell: {image: busybox, command: sleep 5, healthcheck: {test: exit 0}}\n  none: {image: busybox, command: sleep 5, healthcheck: {test: [NONE]}}\n  off: {image: busybox, command: sleep 5, healthcheck: {disable: true}}\n",
    ),
    (
        "limited",
        "services:\n  web: {image: busybox, command: sleep 5, cpu_shares: 7, cpu_period: 20000, cpu_quota: 10000, cpuset: '0', mem_limit: 16m, mem_reservation: 8m, memswap_limit: -1, shm_size: 2m, pids_limit: 77, oom_score_adj: 9, ulimits: {nofile: 99, core: {soft: 0, hard: -1}}, devices: ['/dev/null:/dev/n:r'], cgroup_parent: wharfcmp, security_opt: ['no-new-privileges:true'], cap_add: [ALL], cap_drop: [NET_RAW], userns_mode: host, uts: host, runtime: runc, read_only: true, privileged: true, group_add: ['7'], storage_opt: {}, device_cgroup_rules: ['c 1:3 r'], sysctls: {net.core.somaxconn: 9}, stop_signal: USR1, restart: 'on-failure:3', attach: false, annotations: {a: b}}\n",
    ),
];

/// Where a project is brought up.
struct Place<'a> {
    name: &'static str,
    host: String,
    project: &'a Project<'a>,
}

impl Place<'_> {
    fn compose(&self, client: Client, args: &[&str]) -> Option<Done> {
        let mut command = match client {
            Client::Ours => {
                let mut wharf = Command::new(binary());
                wharf.args(["-H", &self.host, "compose"]).current_dir(self.project.path(""));
                wharf
            }
            Client::Plugin => self.project.command(client)?,
        };
        Some(run_limited(command.args(args).env("DOCKER_HOST", &self.host), ""))
    }

    fn docker(&self, args: &[&str]) -> Done {
        let mut command = Command::new(binary());
        run_limited(command.args(["-H", &self.host]).args(args), "")
    }

    /// All that the engine says of a project's containers, by name.
    fn containers(&self, name: &str) -> Vec<(String, Value)> {
        let label = format!("label=com.docker.compose.project={name}");
        let listed = self.docker(&["ps", "-a", "--filter", &label, "--format", "{{.Names}}"]).ok();
        let mut names: Vec<&str> = listed.lines().collect();
        names.sort_unstable();
        let mut ids = Vec::new();
        let mut all: Vec<(String, Value)> = names
            .iter()
            .map(|name| {
                let text = self.docker(&["inspect", name]).ok();
                let value = serde_json::from_str::<Value>(&text).unwrap()[0].take();
                let id = value["Id"].as_str().unwrap_or_default().to_owned();
                ids.push((id.clone(), (*name).to_owned()));
                ids.push((id[..12].to_owned(), (*name).to_owned()));
                ((*name).to_owned(), value)
            })
            .collect();
        // Names of volumes that nobody named.
        let volumes = self.docker(&["volume", "ls", "-q"]).ok();
        ids.extend(
            volumes.lines().filter(|name| name.len() == 64).map(|name| (name.to_owned(), "anonymous".into())),
        );
        for (_, value) in &mut all {
            without_own(value, &ids);
        }
        all
    }
}

/// What differs between two values, each as a path with both.
fn differences(path: &str, a: &Value, b: &Value, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for key in keys {
                differences(&format!("{path}.{key}"), &a[key.as_str()], &b[key.as_str()], found);
            }
        }
        _ if a != b => found.push(format!("{path}: {a} / {b}")),
        _ => {}
    }
}

/// Between engines: what is the engine's own, and not the client's.
const ENGINES: [&str; 14] = [
    // Docker drops what the kernel has not.
    ".HostConfig.BlkioWeight",
    ".HostConfig.Runtime",
    ".Image",
    ".Config.Image",
    ".Driver",
    ".Platform",
    ".AppArmorProfile",
    ".HostConfig.MaskedPaths",
    ".HostConfig.ReadonlyPaths",
    ".HostConfig.CgroupnsMode",
    ".Config.Labels.com.docker.compose.image",
    // The id of a container that another one shares with is in it.
    ".Config.Labels.com.docker.compose.config-hash",
    ".Mounts",
    ".NetworkSettings",
];

/// What differs: none of it should.
fn compare(e: &Engine, places: &[&str], name: &str, file: &str) -> Vec<String> {
    let project = Project::new(e, name, file);
    project.write("app.env", "X=1\n");
    project.write("tok", "secret\n");
    project.write("src/file", "here\n");
    project.write("x/file", "here\n");
    let mut first: Option<(String, Vec<(String, Value)>)> = None;
    let mut faults = Vec::new();
    for (at, host) in places.iter().enumerate() {
        let place = Place { name: ["Wharf", "Docker"][at], host: (*host).to_owned(), project: &project };
        let mut seen: Option<(String, Vec<(String, Value)>)> = None;
        for client in clients() {
            let Some(config) = place.compose(client, &["config"]) else { continue };
            let config = config.ok();
            place.compose(client, &["create"]).unwrap().ok();
            let containers = place.containers(name);
            assert!(!containers.is_empty());
            place.compose(client, &["down", "-v", "-t", "0"]).unwrap().ok();
            // The two clients on one engine: all is to be the same.
            if let Some((ours, known)) = &seen {
                assert_eq!(ours, &config, "{name}: config of both clients");
                for ((name, a), (_, b)) in known.iter().zip(&containers) {
                    let mut found = Vec::new();
                    differences("", a, b, &mut found);
                    let shares = a["HostConfig"]["IpcMode"]
                        .as_str()
                        .is_some_and(|mode| mode.starts_with("container:"));
                    found.retain(|text| !(shares && text.contains("config-hash")));
                    faults.extend(
                        found.iter().map(|text| format!("{}, ours / plugin, {name}{text}", place.name)),
                    );
                }
                assert_eq!(known.len(), containers.len());
            } else {
                seen = Some((config, containers));
            }
        }
        // The two engines: all that a client asks for.
        match (&first, seen) {
            (Some((_, known)), Some((_, containers))) => {
                for ((name, a), (_, b)) in known.iter().zip(&containers) {
                    let mut found = Vec::new();
                    differences("", a, b, &mut found);
                    found.retain(|text| !ENGINES.iter().any(|own| text.starts_with(own)));
                    faults.extend(found.iter().map(|text| format!("Wharf / Docker, {name}{text}")));
                }
            }
            (None, seen) => first = seen,
            _ => {}
        }
    }
    faults
}

#[test]
fn both_clients_on_both_engines() {
    let Some(e) = Engine::start() else { return };
    let host = e.host();
    let mut places = vec![host.as_str()];
    let docker = std::env::var("WHARF_E2E_DOCKER").map(|socket| format!("unix://{socket}"));
    match &docker {
        Ok(docker) => {
            let tar = e.path("busybox.tar").display().to_string();
            let mut import = Command::new(binary());
            run_limited(import.args(["-H", docker, "import", &tar, "busybox"]), "").ok();
            places.push(docker);
        }
        Err(_) => println!("skipped: WHARF_E2E_DOCKER names no socket of a Docker; its half of the test"),
    }
    let all = PROJECTS.into_iter().chain([("attributed", FILE)]);
    let faults: Vec<String> = all.flat_map(|(name, file)| compare(&e, &places, name, file)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
