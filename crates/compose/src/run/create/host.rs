//! How a service's container meets its host: limits, privileges, ports.

use crate::error::Error;
use crate::project::Service;
use crate::project::deploy::DeviceRequest as Wanted;
use crate::project::service::{BlkioConfig, Device, ThrottleDevice as Rate};
use wharf_docker_api::types::container::PortBinding;
use wharf_docker_api::types::host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, Resources, RestartPolicy, ThrottleDevice, Ulimit,
    WeightDevice,
};
use wharf_docker_api::types::{Map, StrSlice};

/// Everything but mounts and networks.
pub(super) fn host_config(service: &Service) -> Result<HostConfig, Error> {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let map = |map: &Map<String>| (!map.is_empty()).then(|| map.clone());
    let (security_opt, unconfined) = security(service)?;
    let tmpfs: Map<String> = service
        .tmpfs
        .iter()
        .map(|text| text.split_once(':').unwrap_or((text, "")))
        .map(|(path, options)| (path.to_owned(), options.to_owned()))
        .collect();
    let log_config = service.logging.as_ref().map(|logging| LogConfig {
        kind: logging.driver.clone(),
        config: (!logging.options.is_empty()).then(|| {
            logging.options.iter().map(|(k, v)| (k.clone(), v.clone().unwrap_or_default())).collect()
        }),
    });
    let mut host = HostConfig {
        annotations: map(&service.annotations),
        cap_add: capabilities(&service.cap_add),
        cap_drop: capabilities(&service.cap_drop),
        init: service.init,
        ipc_mode: service.ipc.clone(),
        cgroupns_mode: service.cgroup.clone(),
        readonly_rootfs: service.read_only,
        restart_policy: restart(service)?,
        shm_size: service.shm_size.0,
        sysctls: map(&service.sysctls),
        port_bindings: Some(ports(service)),
        volumes_from: some(&service.volumes_from),
        dns: some(&service.dns),
        dns_search: some(&service.dns_search),
        dns_options: some(&service.dns_opt),
        extra_hosts: Some(service.extra_hosts.lines(":")),
        security_opt,
        storage_opt: map(&service.storage_opt),
        userns_mode: service.userns_mode.clone(),
        uts_mode: service.uts.clone(),
        privileged: service.privileged,
        pid_mode: service.pid.clone(),
        tmpfs: (!tmpfs.is_empty()).then_some(tmpfs),
        isolation: service.isolation.clone(),
        runtime: service.runtime.clone(),
        log_config: log_config.unwrap_or_default(),
        group_add: some(&service.group_add),
        oom_score_adj: service.oom_score_adj,
        resources: resources(service)?,
        ..HostConfig::default()
    };
    if unconfined {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    Ok(host)
}

fn capabilities(names: &[String]) -> Option<StrSlice> {
    let full = |name: &String| {
        let name = name.to_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let mut names: Vec<String> = names.iter().map(full).collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then_some(StrSlice(names))
}

/// Options, with the content of a seccomp profile in place of its path; and whether all of /proc and /sys is to be seen.
fn security(service: &Service) -> Result<(Option<Vec<String>>, bool), Error> {
    let mut unconfined = false;
    let mut options = Vec::new();
    for option in &service.security_opt {
        if option == "systempaths=unconfined" {
            unconfined = true;
            continue;
        }
        let (name, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
        if name == "seccomp" && !["unconfined", "builtin", ""].contains(&value) {
            let content = std::fs::read_to_string(value)
                .map_err(|source| Error::Read { path: value.into(), source })?;
            options.push(format!("seccomp={content}"));
        } else {
            options.push(option.clone());
        }
    }
    Ok(((!options.is_empty()).then_some(options), unconfined))
}

fn restart(service: &Service) -> Result<RestartPolicy, Error> {
    if let Some(policy) = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) {
        let name = match policy.condition.as_str() {
            "none" => "no",
            "any" | "" => "unless-stopped",
            other => other,
        };
        let attempts = policy.max_attempts.map_or(0, |attempts| i64::try_from(attempts).unwrap_or(i64::MAX));
        return Ok(RestartPolicy { name: name.into(), maximum_retry_count: attempts });
    }
    let (name, attempts) = service.restart.split_once(':').unwrap_or((&service.restart, "0"));
    let maximum_retry_count = attempts
        .parse()
        .map_err(|_| Error::project(format!("invalid restart policy {:?}", service.restart)))?;
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

fn ports(service: &Service) -> Map<Option<Vec<PortBinding>>> {
    let mut bindings: Map<Option<Vec<PortBinding>>> = Map::new();
    for port in &service.ports {
        let binding = PortBinding { host_ip: port.host_ip.clone(), host_port: port.published.clone() };
        let key = format!("{}/{}", port.target, port.protocol);
        bindings.entry(key).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

fn resources(service: &Service) -> Result<Resources, Error> {
    let number = |number: i64| (number != 0).then_some(number);
    let mut resources = Resources {
        cgroup_parent: service.cgroup_parent.clone(),
        memory: service.mem_limit.0,
        memory_swap: service.memswap_limit.0,
        memory_swappiness: number(service.mem_swappiness.0),
        memory_reservation: service.mem_reservation.0,
        oom_kill_disable: Some(service.oom_kill_disable),
        cpu_count: service.cpu_count,
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_realtime_period: service.cpu_rt_period,
        cpu_realtime_runtime: service.cpu_rt_runtime,
        cpu_shares: service.cpu_shares,
        nano_cpus: nano(service.cpus),
        cpu_percent: service.cpu_percent as i64,
        cpuset_cpus: service.cpuset.clone(),
        pids_limit: number(service.pids_limit),
        device_cgroup_rules: (!service.device_cgroup_rules.is_empty())
            .then(|| service.device_cgroup_rules.clone()),
        ..Resources::default()
    };
    if let Some(blkio) = &service.blkio_config {
        block_io(&mut resources, blkio);
    }
    let mut requests: Vec<DeviceRequest> = service.gpus.iter().map(|gpu| request(gpu, Some("gpu"))).collect();
    if let Some(deploy) = &service.deploy {
        if let Some(limits) = &deploy.resources.limits {
            if limits.memory.0 != 0 {
                resources.memory = limits.memory.0;
            }
            if limits.cpus != 0.0 {
                resources.nano_cpus = nano(limits.cpus);
            }
            if limits.pids != 0 {
                resources.pids_limit = Some(limits.pids);
            }
        }
        if let Some(reserved) = &deploy.resources.reservations {
            if reserved.memory.0 != 0 {
                resources.memory_reservation = reserved.memory.0;
            }
            requests.extend(reserved.devices.iter().map(|device| request(device, None)));
        }
    }
    let (named, nodes): (Vec<&Device>, Vec<&Device>) =
        service.devices.iter().partition(|device| is_named(device));
    if !named.is_empty() {
        let ids = named.iter().map(|device| device.source.clone()).collect();
        requests.push(DeviceRequest {
            driver: "cdi".into(),
            device_ids: Some(ids),
            ..DeviceRequest::default()
        });
    }
    let mapping = |device: &&Device| DeviceMapping {
        path_on_host: device.source.clone(),
        path_in_container: if device.target.is_empty() {
            device.source.clone()
        } else {
            device.target.clone()
        },
        cgroup_permissions: if device.permissions.is_empty() {
            "rwm".into()
        } else {
            device.permissions.clone()
        },
    };
    resources.devices = (!nodes.is_empty()).then(|| nodes.iter().map(mapping).collect());
    resources.device_requests = (!requests.is_empty()).then_some(requests);
    let limit = |(name, limit): (&String, &crate::project::service::Ulimit)| match limit.single {
        0 => Ulimit { name: name.clone(), hard: limit.hard, soft: limit.soft },
        single => Ulimit { name: name.clone(), hard: single, soft: single },
    };
    resources.ulimits = (!service.ulimits.is_empty()).then(|| service.ulimits.iter().map(limit).collect());
    Ok(resources)
}

/// CPUs in billionths; the text in between, for 0.3 of single precision is 0.30000001.
fn nano(cpus: f32) -> i64 {
    cpus.to_string().parse::<f64>().map_or(0, |cpus| (cpus * 1e9).round() as i64)
}

/// Whether a device is one of a CDI specification: `vendor.com/class=name`.
fn is_named(device: &Device) -> bool {
    let (kind, name) = device.source.split_once('=').unwrap_or_default();
    !name.is_empty() && !kind.starts_with('/') && kind.contains('/')
}

fn request(wanted: &Wanted, also: Option<&str>) -> DeviceRequest {
    let mut capabilities = wanted.capabilities.clone();
    if let Some(also) = also
        && !capabilities.iter().any(|known| known == also)
    {
        capabilities.push(also.to_owned());
    }
    DeviceRequest {
        driver: wanted.driver.clone(),
        count: wanted.count,
        device_ids: (!wanted.device_ids.is_empty()).then(|| wanted.device_ids.clone()),
        capabilities: Some(vec![capabilities]),
        options: (!wanted.options.is_empty()).then(|| wanted.options.clone()),
    }
}

fn block_io(resources: &mut Resources, blkio: &BlkioConfig) {
    let rates = |rates: &[Rate]| {
        let rate = |rate: &Rate| ThrottleDevice {
            path: rate.path.clone(),
            rate: u64::try_from(rate.rate.0).unwrap_or(0),
        };
        (!rates.is_empty()).then(|| rates.iter().map(rate).collect::<Vec<_>>())
    };
    let weights =
        blkio.weight_device.iter().map(|one| WeightDevice { path: one.path.clone(), weight: one.weight });
    resources.blkio_weight = blkio.weight;
    resources.blkio_weight_device = (!blkio.weight_device.is_empty()).then(|| weights.collect());
    resources.blkio_device_read_bps = rates(&blkio.device_read_bps);
    resources.blkio_device_write_bps = rates(&blkio.device_write_bps);
    resources.blkio_device_read_iops = rates(&blkio.device_read_iops);
    resources.blkio_device_write_iops = rates(&blkio.device_write_iops);
}
