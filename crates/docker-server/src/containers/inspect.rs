//! `GET /containers/{id}/json`.

use super::endpoints::{NetworkIds, networks};
use crate::Api;
use crate::convert::{health_config, mac_text};
use crate::error::ApiResult;
use crate::params::Params;
use crate::version::Version;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use wharf_docker_api::types::StrSlice;
use wharf_docker_api::types::container::{
    Config, CreateRequest, GraphDriver, Health as WireHealth, HealthLog, Inspect, MountPoint,
    NetworkSettings, PortBinding, State as WireState,
};
use wharf_docker_api::types::host_config::HostConfig;
use wharf_engine::clock::rfc3339;
use wharf_model::container::{ContainerRecord, Link, NetworkMode, ResolvedMount};
use wharf_model::health::Health;
use wharf_model::state::Status;

pub(crate) async fn inspect(
    State(api): State<Api>,
    Path(id): Path<String>,
    params: Params,
    version: Version,
) -> ApiResult {
    let record = api.containers.find(&id)?.record();
    let mut inspect = wire(&api, &record);
    if params.flag("size") {
        let (own, whole) = sizes(&api, &record).await?;
        (inspect.size_rw, inspect.size_root_fs) = (Some(own), Some(whole));
    }
    let names = [record.id.short(), inspect.config.hostname.as_str()];
    for (network, settings) in &mut inspect.network_settings.networks {
        version.endpoint(network, names, settings);
    }
    Ok(Json(inspect).into_response())
}

/// Bytes that a container added to its image, and those of both.
pub(super) async fn sizes(api: &Api, record: &ContainerRecord) -> ApiResult<(i64, i64)> {
    let own = api.containers.size(record).await? as i64;
    // The image of a container may have been removed by force.
    let image = api.images.inspect(record.image.as_str()).map_or(0, |details| details.image.size as i64);
    Ok((own, own + image))
}

fn wire(api: &Api, record: &ContainerRecord) -> Inspect {
    let command = record.command();
    let (path, args) = command.split_first().map(|(p, a)| (p.clone(), a.to_vec())).unwrap_or_default();
    let file = |name: &str| api.containers.run_directory_of(&record.id).join(name).display().to_string();
    let (config, host_config) = as_asked(record);
    let execs = api.execs.of(&record.id);
    Inspect {
        id: record.id.to_string(),
        created: rfc3339(record.created_ns),
        path,
        args,
        state: state(record),
        image: record.image.to_string(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: if record.spec.log.driver != "json-file" {
            String::new()
        } else {
            api.containers.log_file(record).display().to_string()
        },
        name: format!("/{}", record.name),
        restart_count: record.restart_count.into(),
        driver: api.about.storage.clone(),
        platform: "linux".to_owned(),
        exec_ids: (!execs.is_empty()).then_some(execs),
        host_config,
        graph_driver: GraphDriver { data: None, name: api.about.storage.clone() },
        mounts: mounts(record),
        config,
        app_armor_profile: record.apparmor_profile.clone(),
        process_label: record.process_label.clone(),
        mount_label: record.mount_label.clone(),
        network_settings: network_settings(api, record),
        ..Inspect::default()
    }
}

fn state(record: &ContainerRecord) -> WireState {
    WireState {
        status: record.status.as_str().to_owned(),
        running: record.status.is_running() || record.status == Status::Restarting,
        paused: record.status == Status::Paused,
        restarting: record.status == Status::Restarting,
        oom_killed: record.oom_killed,
        dead: false,
        pid: record.pid.into(),
        exit_code: record.exit_code.into(),
        error: record.error.clone(),
        started_at: rfc3339(record.started_ns),
        finished_at: rfc3339(record.finished_ns),
        health: record.health.as_ref().map(health),
    }
}

fn health(health: &Health) -> WireHealth {
    let log = health.log.iter().map(|probe| HealthLog {
        start: rfc3339(probe.start_ns),
        end: rfc3339(probe.end_ns),
        exit_code: probe.exit_code.into(),
        output: probe.output.clone(),
    });
    WireHealth {
        status: health.status.as_str().to_owned(),
        failing_streak: health.streak.into(),
        log: Some(log.collect()),
    }
}

/// The request the container was created with, completed by the image and Docker's defaults.
fn as_asked(record: &ContainerRecord) -> (Config, HostConfig) {
    let asked: CreateRequest = serde_json::from_value(record.spec.origin.clone()).unwrap_or_default();
    let (mut config, mut host) = (asked.config, asked.host_config);
    let image = &record.image_config;
    if config.hostname.is_empty() && record.spec.network != NetworkMode::Host {
        record.id.short().clone_into(&mut config.hostname);
    }
    config.env = Some(shown_env(&record.spec.env, &image.env)).filter(|env| !env.is_empty());
    if config.entrypoint.is_none() {
        config.entrypoint = image.entrypoint.clone().map(StrSlice);
        config.cmd = config.cmd.or_else(|| image.cmd.clone().map(StrSlice));
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    if config.stop_signal.is_empty() {
        config.stop_signal = image.stop_signal.clone().unwrap_or_default();
    }
    config.labels = Some(record.spec.labels.clone().into());
    config.healthcheck = record.healthcheck().as_ref().map(health_config);
    let mut exposed = config.exposed_ports.unwrap_or_default();
    exposed.extend(image.exposed_ports.iter().map(|p| (p.clone(), Some(Default::default()))));
    config.exposed_ports = (!exposed.is_empty()).then_some(exposed);
    if !image.volumes.is_empty() {
        let volumes = config.volumes.get_or_insert_default();
        volumes.extend(image.volumes.iter().map(|v| (v.clone(), Some(Default::default()))));
    }
    host.network_mode = network_mode(record);
    host.log_config.kind.clone_from(&record.spec.log.driver);
    host.log_config.config = Some(record.spec.log.options.clone());
    if host.restart_policy.name.is_empty() {
        "no".clone_into(&mut host.restart_policy.name);
    }
    let limits = &mut host.resources;
    if limits.memory > 0 && limits.memory_swap == 0 {
        limits.memory_swap = limits.memory.saturating_mul(2);
    }
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    if host.ipc_mode.is_empty() {
        "private".clone_into(&mut host.ipc_mode);
    }
    if host.cgroupns_mode.is_empty() {
        "private".clone_into(&mut host.cgroupns_mode);
    }
    if host.runtime.is_empty() {
        let asked = if config.runtime.is_empty() { "wharf" } else { &config.runtime };
        asked.clone_into(&mut host.runtime);
    }
    // In other networks they are the endpoints' own.
    let of = |l: &Link| format!("/{}:/{}/{}", l.container, record.name, l.alias);
    host.links = (record.spec.network == NetworkMode::Bridge)
        .then(|| record.spec.links.iter().map(of).collect::<Vec<_>>())
        .filter(|links| !links.is_empty());
    if let Some(mac) = record.spec.endpoints.get(&host.network_mode).and_then(|wish| wish.mac) {
        config.mac_address = mac_text(mac);
    }
    show_labels(&mut host, &record.process_label);
    (config, host)
}

/// A container that has the host's own namespaces, or all rights, has no label of SELinux, and Docker says so everywhere;
/// one that has another container's has its label.
fn show_labels(host: &mut HostConfig, label: &str) {
    let is_open = host.privileged || host.ipc_mode == "host" || host.pid_mode == "host";
    let options = host.security_opt.get_or_insert_default();
    let says_another = options.iter().any(|option| option.starts_with("label"));
    let shares = host.ipc_mode.starts_with("container:") || host.pid_mode.starts_with("container:");
    if is_open && !says_another {
        options.push("label=disable".into());
    } else if shares && !says_another {
        let parts = ["user", "role", "type", "level"].into_iter().zip(label.splitn(4, ':'));
        options.extend(parts.filter(|_| !label.is_empty()).map(|(part, is)| format!("label={part}:{is}")));
    }
    if options.is_empty() {
        host.security_opt = None;
    }
}

/// The user's variables, a name alone among them, then the image's others.
fn shown_env(own: &[String], image: &[String]) -> Vec<String> {
    let name = |entry: &String| entry.split('=').next().map(str::to_owned);
    let others = image.iter().filter(|entry| !own.iter().any(|o| name(o) == name(entry)));
    own.iter().chain(others).cloned().collect()
}

pub(super) fn network_mode(record: &ContainerRecord) -> String {
    match &record.spec.network {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(name) => format!("container:{name}"),
        NetworkMode::Named(name) => name.clone(),
    }
}

pub(super) fn mounts(record: &ContainerRecord) -> Vec<MountPoint> {
    let of = |m: &ResolvedMount| MountPoint {
        kind: m.kind.clone(),
        name: m.name.clone(),
        source: m.source.display().to_string(),
        destination: m.target.clone(),
        driver: if m.kind == "volume" { "local".to_owned() } else { String::new() },
        mode: mode(m),
        rw: m.read_write,
        propagation: if matches!(m.kind.as_str(), "bind" | "image") {
            propagation(&m.options).to_owned()
        } else {
            String::new()
        },
    };
    // What `--tmpfs` makes is in the host configuration alone.
    let host = record.spec.origin.get("HostConfig");
    let plain = host.and_then(|host| host.get("Tmpfs")).and_then(serde_json::Value::as_object);
    let is_plain = |target: &str| plain.is_some_and(|all| all.contains_key(target));
    record.mounts.iter().filter(|m| m.kind != "tmpfs" || !is_plain(&m.target)).map(of).collect()
}

fn mode(mount: &ResolvedMount) -> String {
    let access = if mount.read_write || mount.kind == "image" { "" } else { "ro" };
    // What nobody gave a mode has none.
    let relabel = if mount.anonymous { "" } else { mount.relabel.word() };
    let words = [access, relabel];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(",")
}

/// How mounts below a bind are seen on its other side.
fn propagation(options: &[String]) -> &str {
    let is_one = |o: &&str| matches!(*o, "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared");
    options.iter().map(String::as_str).find(is_one).unwrap_or("rprivate")
}

fn network_settings(api: &Api, record: &ContainerRecord) -> NetworkSettings {
    let networks = networks(record, &mut NetworkIds::of(api));
    let first = networks.get("bridge").cloned().unwrap_or_default();
    let sandbox_key = if record.pid > 0 { format!("/proc/{}/ns/net", record.pid) } else { String::new() };
    NetworkSettings {
        sandbox_id: if record.pid > 0 { record.id.to_string() } else { String::new() },
        sandbox_key,
        ports: ports(record),
        endpoint_id: first.endpoint_id,
        gateway: first.gateway,
        ip_address: first.ip_address,
        ip_prefix_len: first.ip_prefix_len,
        mac_address: first.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

fn ports(record: &ContainerRecord) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut ports: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    if !record.status.is_running() {
        return ports;
    }
    // They are of the container's own network, which these have not.
    if matches!(record.spec.network, NetworkMode::Host | NetworkMode::None) {
        return ports;
    }
    // Without a network there is nothing to reach them by.
    if record.endpoints.is_empty() {
        return ports;
    }
    let exposed = record
        .image_config
        .exposed_ports
        .iter()
        .cloned()
        .chain(record.spec.exposed.iter().map(ToString::to_string));
    ports.extend(exposed.map(|p| (p, None)));
    for p in &record.published {
        // Reached by the container's own address: no port of the host.
        let host_port = if p.host_port == 0 { String::new() } else { p.host_port.to_string() };
        let binding = PortBinding { host_ip: p.host_ip.to_string(), host_port };
        ports.entry(p.container.to_string()).or_default().get_or_insert_default().push(binding);
    }
    ports
}
