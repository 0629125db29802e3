//! Wire to domain: what `POST /containers/create` asks for, as a specification.

mod devices;
mod mounts;
mod security;

use crate::About;
use crate::error::{ApiError, ApiResult};
use std::collections::BTreeMap;
use wharf_docker_api::types::container::{CreateRequest, HealthConfig, PortBinding};
use wharf_docker_api::types::host_config::{
    LogConfig, Resources as WireResources, RestartPolicy as WireRestart, ThrottleDevice as WireThrottle,
};
use wharf_docker_api::types::network::EndpointSettings;
use wharf_engine::networks::check_without_network;
use wharf_model::container::{
    ContainerSpec, EndpointSpec, Link, LogSpec, NetworkMode, RestartPolicy, VolumesFrom,
};
use wharf_model::health::{self, ON_UNHEALTHY_LABEL};
use wharf_model::ports::{ContainerPort, PortMapping};
use wharf_oci::image_config::Healthcheck;
use wharf_oci::runtime_spec::{BlockIo, Cpu, Memory, Pids, Resources, Rlimit, ThrottleDevice};

/// The specification that a request asks for. The request itself is kept in it, to be shown by inspect.
pub(crate) fn spec(request: CreateRequest, about: &About) -> ApiResult<ContainerSpec> {
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
        labels: config.labels.unwrap_or_default().0,
        hostname: config.hostname,
        domainname: config.domainname,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        mounts: mounts::all(&host, config.volumes.unwrap_or_default().into_keys())?,
        volumes_from: host
            .volumes_from
            .iter()
            .flatten()
            .map(|f| volumes_from(f))
            .collect::<ApiResult<_>>()?,
        network: NetworkMode::of(&host.network_mode),
        exposed: config
            .exposed_ports
            .unwrap_or_default()
            .keys()
            .map(|p| exposed(p))
            .collect::<ApiResult<Vec<_>>>()?
            .concat(),
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
        cap_add: security::capability_list("CapAdd", host.cap_add.clone().unwrap_or_default().0)?,
        cap_drop: security::capability_list("CapDrop", host.cap_drop.clone().unwrap_or_default().0)?,
        privileged: host.privileged,
        read_only: host.readonly_rootfs,
        init: host.init.unwrap_or(false),
        sysctls: host.sysctls.clone().unwrap_or_default(),
        shm_size: host.shm_size,
        ipc: security::ipc(&host.ipc_mode)?,
        shm: security::shm(&host.ipc_mode),
        pid: security::pid(&host.pid_mode)?,
        uts: security::own_or_host("UTS", &host.uts_mode)?,
        cgroup: security::own_or_host("cgroup namespace", &host.cgroupns_mode)?,
        host_users: host.userns_mode == "host",
        cgroup_parent: host.resources.cgroup_parent.clone(),
        oom_score_adj: security::oom_score_adj(host.oom_score_adj)?,
        log: log(&host.log_config, &about.log)?,
        annotations: host.annotations.clone().unwrap_or_default(),
        health: config.healthcheck.map(healthcheck),
        origin,
        ..ContainerSpec::default()
    };
    security::check(&host, &spec, about.remaps_users)?;
    if let Some(check) = &spec.health {
        health::validate(check)?;
    }
    if let Some(action) = spec.labels.get(ON_UNHEALTHY_LABEL) {
        spec.on_unhealthy = action.parse()?;
    }
    if config.network_disabled {
        spec.network = NetworkMode::None;
    }
    (spec.devices, spec.device_rules) = devices::of(&host.resources)?;
    spec.device_names = devices::names(&host.resources, &about.cdi_spec_dirs)?;
    security::options(&mut spec, &host, about.labels_containers)?;
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

/// A port, or several as a range: `8-9/udp`.
fn exposed(text: &str) -> ApiResult<Vec<ContainerPort>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let Some((first, last)) = range.split_once('-') else { return Ok(vec![port(text)?]) };
    let [first, last] = [first, last].map(|port| port.parse::<u16>());
    let (Ok(first), Ok(last)) = (first, last) else { return Ok(vec![port(text)?]) };
    (first..=last).map(|number| port(&format!("{number}/{protocol}"))).collect()
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
        (memory, 0) if memory > 0 => Some(memory.saturating_mul(2)),
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
        let node = wharf_engine::containers::spec::devices::node(std::path::Path::new(&d.path))
            .ok_or_else(|| ApiError::bad_request(format!("{} is no device", d.path)))?;
        Ok(ThrottleDevice { major: node.major, minor: node.minor, rate: d.rate })
    };
    list.iter().flatten().map(of).collect()
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
        for (name, wish) in &spec.endpoints {
            check_without_network(name, wish)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let most = WireResources { memory: i64::MAX, ..WireResources::default() };
        assert_eq!(resources(&most).unwrap().memory.unwrap().swap, Some(i64::MAX));
        assert!(resources(&WireResources { memory: 1000, ..WireResources::default() }).is_err());
    }
}
