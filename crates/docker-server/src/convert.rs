//! Wire to domain: what `POST /containers/create` asks for, as a specification.

use crate::error::{ApiError, ApiResult};
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wharf_docker_api::types::container::{CreateRequest, HealthConfig, PortBinding};
use wharf_docker_api::types::host_config::{
    DeviceMapping, HostConfig, LogConfig, Mount, Resources as WireResources, RestartPolicy as WireRestart,
    ThrottleDevice as WireThrottle,
};
use wharf_docker_api::types::network::EndpointSettings;
use wharf_engine::containers::spec::{capabilities, devices};
use wharf_model::container::{
    ContainerSpec, EndpointSpec, Link, LogSpec, MountSource, MountSpec, NamespaceMode, NetworkMode,
    RestartPolicy, SeccompSpec, VolumesFrom,
};
use wharf_model::health::{self, ON_UNHEALTHY_LABEL};
use wharf_model::ports::{ContainerPort, PortMapping};
use wharf_oci::image_config::Healthcheck;
use wharf_oci::runtime_spec::{
    BlockIo, Cpu, Device, DeviceRule, Memory, Pids, Resources, Rlimit, ThrottleDevice,
};

/// The specification that a request asks for. The request itself is kept in it, to be shown by inspect.
pub(crate) fn spec(request: CreateRequest, own_log: &LogSpec) -> ApiResult<ContainerSpec> {
    let origin = serde_json::to_value(&request)
        .map_err(|e| ApiError::bad_request(format!("keep the request: {e}")))?;
    let CreateRequest { config, host_config: mut host, networking_config: networking } = request;
    if host.runtime.is_empty() {
        host.runtime.clone_from(&config.runtime);
    }
    let mut spec = ContainerSpec {
        image: config.image,
        entrypoint: config.entrypoint.map(|e| e.0),
        command: config.cmd.map(|c| c.0),
        env: config.env.unwrap_or_default(),
        working_dir: config.working_dir,
        user: config.user,
        groups: host.group_add.clone().unwrap_or_default(),
        labels: config.labels.unwrap_or_default(),
        hostname: config.hostname,
        domainname: config.domainname,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        mounts: mounts(&host, config.volumes.unwrap_or_default().into_keys())?,
        volumes_from: host
            .volumes_from
            .iter()
            .flatten()
            .map(|f| volumes_from(f))
            .collect::<ApiResult<_>>()?,
        network: network_mode(&host.network_mode),
        exposed: config
            .exposed_ports
            .unwrap_or_default()
            .keys()
            .map(|p| port(p))
            .collect::<ApiResult<_>>()?,
        ports: ports(host.port_bindings.clone().unwrap_or_default())?,
        publish_all: host.publish_all_ports,
        dns: host.dns.clone().unwrap_or_default(),
        dns_search: host.dns_search.clone().unwrap_or_default(),
        dns_options: host.dns_options.clone().unwrap_or_default(),
        extra_hosts: host.extra_hosts.clone().unwrap_or_default(),
        restart: restart(&host.restart_policy)?,
        auto_remove: host.auto_remove,
        resources: resources(&host.resources)?,
        ulimits: host.resources.ulimits.iter().flatten().map(|u| rlimit(&u.name, u.hard, u.soft)).collect(),
        cap_add: capability_list(host.cap_add.clone().unwrap_or_default().0)?,
        cap_drop: capability_list(host.cap_drop.clone().unwrap_or_default().0)?,
        privileged: host.privileged,
        read_only: host.readonly_rootfs,
        init: host.init.unwrap_or(false),
        sysctls: host.sysctls.clone().unwrap_or_default(),
        shm_size: host.shm_size,
        ipc: namespace("IPC", &host.ipc_mode)?,
        pid: namespace("PID", &host.pid_mode)?,
        uts: namespace("UTS", &host.uts_mode)?,
        cgroup: namespace("cgroup namespace", &host.cgroupns_mode)?,
        cgroup_parent: host.resources.cgroup_parent.clone(),
        oom_score_adj: i32::try_from(host.oom_score_adj).unwrap_or(0),
        log: log(&host.log_config, own_log)?,
        annotations: host.annotations.clone().unwrap_or_default(),
        health: config.healthcheck.map(healthcheck),
        origin,
        ..ContainerSpec::default()
    };
    refuse(&host)?;
    if let Some(check) = &spec.health {
        health::validate(check)?;
    }
    if let Some(action) = spec.labels.get(ON_UNHEALTHY_LABEL) {
        spec.on_unhealthy = action.parse()?;
    }
    if config.network_disabled {
        spec.network = NetworkMode::None;
    }
    (spec.devices, spec.device_rules) = devices_of(&host.resources)?;
    security(&mut spec, &host)?;
    match &spec.network {
        NetworkMode::Bridge => spec.links = links(host.links.as_deref())?,
        // Elsewhere they come with the endpoint.
        NetworkMode::Named(_) => {}
        _ if host.links.as_ref().is_some_and(|links| !links.is_empty()) => {
            let message = format!(
                "conflicting options: {} type networking can't be used with links. This would result in undefined behavior",
                host.network_mode
            );
            return Err(ApiError::bad_request(message));
        }
        _ => {}
    }
    endpoints(&mut spec, networking.endpoints_config.unwrap_or_default(), &config.mac_address)?;
    Ok(spec)
}

/// `container[:ro|rw]`, with further words of mount modes that change nothing here.
fn volumes_from(text: &str) -> ApiResult<VolumesFrom> {
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    let known = |word: &str| matches!(word, "ro" | "rw" | "z" | "Z");
    if container.is_empty() || !(mode.is_empty() || mode.split(',').all(known)) {
        return Err(ApiError::bad_request(format!("invalid volumes-from specification: {text}")));
    }
    let read_only = mode.split(',').any(|word| word == "ro");
    Ok(VolumesFrom { container: container.to_owned(), read_only })
}

pub(crate) fn healthcheck(wire: HealthConfig) -> Healthcheck {
    Healthcheck {
        test: wire.test.unwrap_or_default(),
        interval: wire.interval,
        timeout: wire.timeout,
        start_period: wire.start_period,
        start_interval: wire.start_interval,
        retries: wire.retries,
    }
}

/// The other way, to be shown.
pub(crate) fn health_config(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: Some(check.test.clone()),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// What is asked for and cannot be given, said clearly.
fn refuse(host: &HostConfig) -> ApiResult<()> {
    let no =
        |what: &str| Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not supported yet")));
    if host.resources.device_requests.as_ref().is_some_and(|r| !r.is_empty()) {
        return no("--gpus and device requests");
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return no("--userns");
    }
    if host.storage_opt.as_ref().is_some_and(|s| !s.is_empty()) {
        return no("--storage-opt");
    }
    if !matches!(host.runtime.as_str(), "" | "wharf" | "runc") {
        return Err(ApiError::bad_request(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    Ok(())
}

fn port(text: &str) -> ApiResult<ContainerPort> {
    Ok(text.parse()?)
}

pub(crate) fn ports(bindings: BTreeMap<String, Option<Vec<PortBinding>>>) -> ApiResult<Vec<PortMapping>> {
    let mut mappings = Vec::new();
    for (container, hosts) in bindings {
        let container = port(&container)?;
        for binding in hosts.unwrap_or_default() {
            let host_ip = match binding.host_ip.as_str() {
                "" => None,
                text => Some(
                    text.trim_matches(['[', ']'])
                        .parse()
                        .map_err(|_| ApiError::bad_request(format!("invalid IP address: {text}")))?,
                ),
            };
            mappings.push(PortMapping { container, host_ip, host_ports: host_ports(&binding.host_port)? });
        }
    }
    Ok(mappings)
}

/// `8080`, `8000-8010`, or nothing (and `0`) for a port of the engine's choice.
fn host_ports(text: &str) -> ApiResult<Option<(u16, u16)>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let invalid = || ApiError::bad_request(format!("invalid port specification: \"{text}\""));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    if first == 0 || first > last { Err(invalid()) } else { Ok(Some((first, last))) }
}

pub(crate) fn restart(policy: &WireRestart) -> ApiResult<RestartPolicy> {
    Ok(match policy.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            RestartPolicy::OnFailure(u32::try_from(policy.maximum_retry_count).map_err(|_| {
                ApiError::bad_request("invalid restart policy: maximum retry count cannot be negative")
            })?)
        }
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    })
}

fn network_mode(text: &str) -> NetworkMode {
    match text {
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        other => match other.strip_prefix("container:") {
            Some(name) => NetworkMode::Container(name.to_owned()),
            None => NetworkMode::Named(other.to_owned()),
        },
    }
}

fn namespace(kind: &str, text: &str) -> ApiResult<NamespaceMode> {
    Ok(match text {
        "" | "private" | "shareable" | "none" => NamespaceMode::Private,
        "host" => NamespaceMode::Host,
        other => match other.strip_prefix("container:") {
            Some(name) => NamespaceMode::Container(name.to_owned()),
            None => return Err(ApiError::bad_request(format!("invalid {kind} mode: {other}"))),
        },
    })
}

fn capability_list(names: Vec<String>) -> ApiResult<Vec<String>> {
    let normalise = |name: String| {
        capabilities::normalise(&name)
            .ok_or_else(|| ApiError::bad_request(format!("invalid capability: {name:?}")))
    };
    names.into_iter().map(normalise).collect()
}

pub(crate) fn rlimit(name: &str, hard: i64, soft: i64) -> Rlimit {
    // -1 is no limit, which the kernel writes as all ones.
    Rlimit { kind: format!("RLIMIT_{}", name.to_ascii_uppercase()), hard: hard as u64, soft: soft as u64 }
}

/// The driver as asked for; one that is not named is the engine's own, with its options.
fn log(config: &LogConfig, own: &LogSpec) -> ApiResult<LogSpec> {
    let mut options = config.config.clone().unwrap_or_default();
    if !config.kind.is_empty() && config.kind != own.driver {
        return Ok(LogSpec::parse(&config.kind, options)?);
    }
    for (key, value) in &own.options {
        options.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Ok(LogSpec::parse(&own.driver, options)?)
}

pub(crate) fn resources(wire: &WireResources) -> ApiResult<Resources> {
    let some = |n: i64| (n != 0).then_some(n);
    crate::verify::resources(wire)?;
    let swap = match (wire.memory, wire.memory_swap) {
        // Docker's default: as much swap as memory.
        (memory, 0) if memory > 0 => Some(memory * 2),
        (_, swap) => some(swap),
    };
    let mut cpu = Cpu {
        shares: u64::try_from(wire.cpu_shares).ok().filter(|s| *s > 0),
        quota: some(wire.cpu_quota),
        period: u64::try_from(wire.cpu_period).ok().filter(|p| *p > 0),
        cpus: wire.cpuset_cpus.clone(),
        mems: wire.cpuset_mems.clone(),
        ..Cpu::default()
    };
    if wire.nano_cpus > 0 {
        (cpu.period, cpu.quota) = (Some(100_000), Some(wire.nano_cpus / 10_000));
    }
    Ok(Resources {
        memory: Some(Memory {
            limit: some(wire.memory),
            reservation: some(wire.memory_reservation),
            swap,
            swappiness: wire.memory_swappiness.and_then(|s| u64::try_from(s).ok()),
            disable_oom_killer: wire.oom_kill_disable.filter(|d| *d),
        }),
        cpu: Some(cpu),
        pids: wire.pids_limit.filter(|l| *l != 0).map(|limit| Pids { limit }),
        block_io: Some(BlockIo {
            weight: Some(wire.blkio_weight).filter(|w| *w > 0),
            throttle_read_bps_device: throttle(&wire.blkio_device_read_bps)?,
            throttle_write_bps_device: throttle(&wire.blkio_device_write_bps)?,
            throttle_read_iops_device: throttle(&wire.blkio_device_read_iops)?,
            throttle_write_iops_device: throttle(&wire.blkio_device_write_iops)?,
            ..BlockIo::default()
        }),
        ..Resources::default()
    })
}

fn throttle(list: &Option<Vec<WireThrottle>>) -> ApiResult<Vec<ThrottleDevice>> {
    let of = |d: &WireThrottle| {
        let node = devices::node(std::path::Path::new(&d.path))
            .ok_or_else(|| ApiError::bad_request(format!("{} is no device", d.path)))?;
        Ok(ThrottleDevice { major: node.major, minor: node.minor, rate: d.rate })
    };
    list.iter().flatten().map(of).collect()
}

fn devices_of(wire: &WireResources) -> ApiResult<(Vec<Device>, Vec<DeviceRule>)> {
    let (mut nodes, mut rules) = (Vec::new(), Vec::new());
    for mapping in wire.devices.iter().flatten() {
        for node in nodes_of(mapping)? {
            rules.push(DeviceRule {
                allow: true,
                kind: node.kind.clone(),
                major: Some(node.major),
                minor: Some(node.minor),
                access: if mapping.cgroup_permissions.is_empty() {
                    "rwm".to_owned()
                } else {
                    mapping.cgroup_permissions.clone()
                },
            });
            nodes.push(node);
        }
    }
    for text in wire.device_cgroup_rules.iter().flatten() {
        rules.push(
            device_rule(text).ok_or_else(|| {
                ApiError::bad_request(format!("invalid device cgroup rule format: '{text}'"))
            })?,
        );
    }
    Ok((nodes, rules))
}

/// One device, or all below a directory such as `/dev/snd`.
fn nodes_of(mapping: &DeviceMapping) -> ApiResult<Vec<Device>> {
    let host = std::path::Path::new(&mapping.path_on_host);
    let inside =
        if mapping.path_in_container.is_empty() { &mapping.path_on_host } else { &mapping.path_in_container };
    let real = std::fs::canonicalize(host).map_err(|_| {
        ApiError::bad_request(format!(
            "error gathering device information while adding custom device \"{}\": no such file or directory",
            mapping.path_on_host
        ))
    })?;
    if let Some(node) = devices::node(&real) {
        return Ok(vec![Device { path: inside.clone(), ..node }]);
    }
    let entries = std::fs::read_dir(&real).map_err(|_| {
        ApiError::bad_request(format!(
            "error gathering device information while adding custom device \"{}\": not a device node",
            mapping.path_on_host
        ))
    })?;
    Ok(entries
        .flatten()
        .filter_map(|e| {
            devices::node(&e.path())
                .map(|n| Device { path: format!("{inside}/{}", e.file_name().to_string_lossy()), ..n })
        })
        .collect())
}

/// `c 1:3 rwm`
fn device_rule(text: &str) -> Option<DeviceRule> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = parts[..] else { return None };
    let (major, minor) = numbers.split_once(':')?;
    let number = |n: &str| if n == "*" { Some(None) } else { n.parse().ok().map(Some) };
    let valid = matches!(kind, "a" | "b" | "c") && access.chars().all(|c| "rwm".contains(c));
    valid.then_some(())?;
    Some(DeviceRule {
        allow: true,
        kind: kind.to_owned(),
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

fn security(spec: &mut ContainerSpec, host: &HostConfig) -> ApiResult<()> {
    if host.masked_paths.as_ref().is_some_and(Vec::is_empty)
        && host.readonly_paths.as_ref().is_some_and(Vec::is_empty)
    {
        spec.unmask_paths = true;
    }
    for option in host.security_opt.iter().flatten() {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => spec.no_new_privileges = true,
            ("no-new-privileges", "false") => spec.no_new_privileges = false,
            ("seccomp", "unconfined") => spec.seccomp = SeccompSpec::Unconfined,
            ("seccomp", "builtin") => spec.seccomp = SeccompSpec::Default,
            ("seccomp", profile) => {
                let parsed = serde_json::from_str(profile)
                    .map_err(|e| ApiError::bad_request(format!("decoding seccomp profile failed: {e}")))?;
                spec.seccomp = SeccompSpec::Profile(Box::new(parsed));
            }
            ("systempaths", "unconfined") => spec.unmask_paths = true,
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor" | "label", _) => {
                return Err(ApiError::bad_request(format!(
                    "security option {option:?}: this host has no such security module in use"
                )));
            }
            _ => return Err(ApiError::bad_request(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    Ok(())
}

/// What a container asks of one network.
pub(crate) fn endpoint(settings: EndpointSettings) -> ApiResult<EndpointSpec> {
    let ipam = settings.ipam_config.unwrap_or_default();
    let address = |text: &str| ApiError::bad_request(format!("invalid IP address: {text}"));
    Ok(EndpointSpec {
        aliases: settings.aliases.unwrap_or_default(),
        ipv4: parse_optional(&ipam.ipv4_address).map_err(|()| address(&ipam.ipv4_address))?,
        ipv6: parse_optional(&ipam.ipv6_address).map_err(|()| address(&ipam.ipv6_address))?,
        mac: parse_mac(&settings.mac_address)?,
        gw_priority: settings.gw_priority,
        links: links(settings.links.as_deref())?,
        link_local: ipam
            .link_local_ips
            .iter()
            .flatten()
            .map(|text| text.parse().map_err(|_| address(text)))
            .collect::<ApiResult<_>>()?,
        driver_options: settings.driver_opts.unwrap_or_default(),
    })
}

fn links(texts: Option<&[String]>) -> ApiResult<Vec<Link>> {
    texts.unwrap_or_default().iter().map(|text| Ok(text.parse()?)).collect()
}

fn endpoints(
    spec: &mut ContainerSpec,
    wire: BTreeMap<String, Option<EndpointSettings>>,
    mac: &str,
) -> ApiResult<()> {
    for (name, settings) in wire {
        let entry = endpoint(settings.unwrap_or_default())?;
        let name = if name == "default" { "bridge".to_owned() } else { name };
        spec.endpoints.insert(name, entry);
    }
    if !mac.is_empty() {
        let name = match &spec.network {
            NetworkMode::Named(name) => name.clone(),
            _ => "bridge".to_owned(),
        };
        spec.endpoints.entry(name).or_default().mac = parse_mac(mac)?;
    }
    if matches!(spec.network, NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_)) {
        spec.endpoints.clear();
    }
    Ok(())
}

fn parse_optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, ()> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| ()) }
}

fn parse_mac(text: &str) -> ApiResult<Option<[u8; 6]>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes: Vec<u8> = text.split([':', '-']).filter_map(|b| u8::from_str_radix(b, 16).ok()).collect();
    let mac: [u8; 6] =
        bytes.try_into().map_err(|_| ApiError::bad_request(format!("{text} is not a valid mac address")))?;
    Ok(Some(mac))
}

/// `02:42:ac:11:00:02`
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

fn mounts(host: &HostConfig, anonymous: impl Iterator<Item = String>) -> ApiResult<Vec<MountSpec>> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(parse_bind(bind)?);
    }
    for mount in host.mounts.iter().flatten() {
        mounts.push(from_mount(mount)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        let options: Vec<String> = options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
        let read_only = options.iter().any(|o| o == "ro");
        let options = options.into_iter().filter(|o| o != "ro" && o != "rw").collect();
        mounts.push(MountSpec { source: MountSource::Tmpfs { options }, target: target.clone(), read_only });
    }
    for target in anonymous {
        // Docker's CLI sends `-v name:/path` here in no form, and `-v /path` as a key.
        if !mounts.iter().any(|m| m.target == target) {
            mounts.push(MountSpec { source: volume(""), target, read_only: false });
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for mount in &mounts {
        if !seen.insert(mount.target.trim_end_matches('/').to_owned()) {
            return Err(ApiError::bad_request(format!("Duplicate mount point: {}", mount.target)));
        }
    }
    Ok(mounts)
}

fn volume(name: &str) -> MountSource {
    MountSource::Volume {
        name: name.to_owned(),
        no_copy: false,
        subpath: String::new(),
        labels: BTreeMap::new(),
    }
}

/// `source:target[:options]`, where a source that begins with a slash is a path and another one a volume.
fn parse_bind(text: &str) -> ApiResult<MountSpec> {
    let invalid = || ApiError::bad_request(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(invalid());
    }
    let (mut read_only, mut propagation, mut no_copy) = (false, String::new(), false);
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "nocopy" => no_copy = true,
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                option.clone_into(&mut propagation);
            }
            _ => return Err(ApiError::bad_request(format!("invalid mode: {options}"))),
        }
    }
    let source = if source.starts_with('/') {
        MountSource::Bind { path: PathBuf::from(source), propagation, create: true, non_recursive: false }
    } else {
        MountSource::Volume {
            name: source.to_owned(),
            no_copy,
            subpath: String::new(),
            labels: BTreeMap::new(),
        }
    };
    Ok(MountSpec { source, target: target.to_owned(), read_only })
}

fn from_mount(mount: &Mount) -> ApiResult<MountSpec> {
    let source = match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            MountSource::Bind {
                path: PathBuf::from(&mount.source),
                propagation: options.propagation,
                create: options.create_mountpoint,
                non_recursive: options.non_recursive,
            }
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            MountSource::Volume {
                name: mount.source.clone(),
                no_copy: options.no_copy,
                subpath: options.subpath,
                labels: options.labels.unwrap_or_default(),
            }
        }
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut list: Vec<String> =
                options.options.unwrap_or_default().iter().map(|o| o.join("=")).collect();
            if options.size_bytes > 0 {
                list.push(format!("size={}", options.size_bytes));
            }
            if options.mode > 0 {
                list.push(format!("mode={:o}", options.mode));
            }
            MountSource::Tmpfs { options: list }
        }
        other => {
            return Err(ApiError::bad_request(format!(
                "invalid mount config: mount type {other:?} is not supported yet: bind, volume and tmpfs are"
            )));
        }
    };
    Ok(MountSpec { source, target: mount.target.clone(), read_only: mount.read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        let bind = parse_bind("/host:/c:ro,rslave").unwrap();
        assert!(bind.read_only && bind.target == "/c");
        assert!(
            matches!(bind.source, MountSource::Bind { create: true, ref propagation, .. } if propagation == "rslave")
        );
        assert!(
            matches!(parse_bind("data:/c").unwrap().source, MountSource::Volume { ref name, .. } if name == "data")
        );
        for bad in ["", "/a", ":/b", "/a:/b:purple", "/a:/b:ro:x"] {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_port_ranges() {
        assert_eq!(host_ports("").unwrap(), None);
        assert_eq!(host_ports("8080").unwrap(), Some((8080, 8080)));
        assert_eq!(host_ports("8000-8010").unwrap(), Some((8000, 8010)));
        assert!(host_ports("90-80").is_err() && host_ports("99999").is_err());
    }

    #[test]
    fn processors_and_memory() {
        let wire = WireResources { nano_cpus: 500_000_000, memory: 64 << 20, ..WireResources::default() };
        let r = resources(&wire).unwrap();
        assert_eq!(r.cpu.unwrap().quota, Some(50_000));
        assert_eq!(r.memory.unwrap().swap, Some(128 << 20));
        assert!(resources(&WireResources { memory: 1000, ..WireResources::default() }).is_err());
    }
}
