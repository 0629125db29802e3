//! From the flags of `run` and `create` to the body of the API's call.

use super::flags::ContainerFlags;
use crate::context::Context;
use crate::failure::Failure;
use crate::parse::device::{Device, bytes_rate, device, gpus, operations_rate, weight};
use crate::parse::network::{Attachment, attachment};
use crate::parse::volume::{Volume, tmpfs, volume};
use crate::parse::{env, mount, pair, ports, ulimit};
use std::fs;
use std::path::{Path, PathBuf};
use wharf_docker_api::types::container::{Config, CreateRequest, HealthConfig, NetworkingConfig};
use wharf_docker_api::types::host_config::{DeviceRequest, HostConfig, LogConfig, Resources, RestartPolicy};
use wharf_docker_api::types::network::EndpointIpam;
use wharf_docker_api::types::{Map, StrSlice};

type Parsed<T> = Result<T, String>;

/// The body of `POST /containers/create`.
pub(super) fn build(flags: &ContainerFlags) -> Parsed<CreateRequest> {
    check(flags)?;
    let current_dir = std::env::current_dir().map_err(|e| format!("find the current directory: {e}"))?;
    let mut volumes = Map::new();
    let mut binds = Vec::new();
    for text in &flags.volume {
        match volume(text, &current_dir)? {
            Volume::Anonymous(path) => drop(volumes.insert(path, Some(Default::default()))),
            // The same words twice are one wish.
            Volume::Bind(bind) if binds.contains(&bind) => {}
            Volume::Bind(bind) => binds.push(bind),
        }
    }
    let mut published = ports::Published::new();
    flags.publish.iter().try_for_each(|text| ports::publish(text, &mut published))?;
    let mut exposed: Map<_> = published.keys().map(|port| (port.clone(), Some(Default::default()))).collect();
    for text in &flags.expose {
        exposed.extend(ports::expose(text)?.into_iter().map(|port| (port, Some(Default::default()))));
    }
    let networks = networks(flags)?;
    let config = Config {
        hostname: flags.hostname.clone(),
        domainname: flags.domainname.clone(),
        user: flags.user.clone(),
        exposed_ports: some(exposed),
        tty: flags.tty,
        open_stdin: flags.interactive,
        env: some(env::variables(&flags.env_file, &flags.env)?),
        cmd: some(flags.command.clone()).map(StrSlice),
        healthcheck: healthcheck(flags)?,
        image: flags.image.clone(),
        volumes: some(volumes),
        working_dir: flags.workdir.clone(),
        // An empty entrypoint resets the image's own.
        entrypoint: flags.entrypoint.as_ref().map(|text| StrSlice(vec![text.clone()])),
        mac_address: flags.mac_address.clone(),
        labels: some(labels(flags)?.into()),
        stop_signal: flags.stop_signal.clone(),
        stop_timeout: flags.stop_timeout,
        ..Config::default()
    };
    let host_config = HostConfig {
        binds: some(binds),
        container_id_file: flags.cidfile.clone().unwrap_or_default(),
        log_config: LogConfig { kind: flags.log_driver.clone(), config: Some(pairs(&flags.log_opt)) },
        network_mode: networks.first().map_or_else(|| "default".into(), |first| first.name.clone()),
        port_bindings: some(published.into_iter().map(|(port, all)| (port, Some(all))).collect()),
        restart_policy: restart(&flags.restart)?,
        auto_remove: flags.rm,
        volume_driver: flags.volume_driver.clone(),
        volumes_from: some(flags.volumes_from.clone()),
        console_size: crate::stream::terminal::size().unwrap_or_default(),
        annotations: some(pairs(&flags.annotation)),
        cap_add: some(flags.cap_add.clone()).map(StrSlice),
        cap_drop: some(flags.cap_drop.clone()).map(StrSlice),
        cgroupns_mode: flags.cgroupns.clone(),
        dns: Some(flags.dns.clone()),
        dns_options: Some(flags.dns_option.clone()),
        dns_search: Some(flags.dns_search.clone()),
        extra_hosts: some(each("--add-host", &flags.add_host, add_host)?),
        group_add: some(flags.group_add.clone()),
        ipc_mode: flags.ipc.clone(),
        links: some(flags.link.clone()),
        oom_score_adj: flags.oom_score_adj,
        pid_mode: flags.pid.clone(),
        privileged: flags.privileged,
        publish_all_ports: flags.publish_all,
        readonly_rootfs: flags.read_only,
        security_opt: some(flags.security_opt.iter().map(|text| security_opt(text)).collect::<Parsed<_>>()?),
        storage_opt: some(pairs(&flags.storage_opt)),
        tmpfs: some(flags.tmpfs.iter().map(|text| tmpfs(text)).collect()),
        uts_mode: flags.uts.clone(),
        userns_mode: flags.userns.clone(),
        shm_size: flags.shm_size.unwrap_or_default(),
        sysctls: some(pairs(&flags.sysctl)),
        runtime: flags.runtime.clone(),
        isolation: flags.isolation.clone(),
        mounts: some(each("--mount", &flags.mount, |text| mount::mount(text, &current_dir))?),
        init: flags.init.then_some(true),
        resources: resources(flags)?,
        ..HostConfig::default()
    };
    let host_config = with_systempaths(host_config);
    let endpoints: Map<_> =
        networks.into_iter().map(|network| (network.name, Some(network.settings))).collect();
    Ok(CreateRequest {
        config,
        host_config,
        networking_config: NetworkingConfig { endpoints_config: Some(endpoints) },
    })
}

/// Adds the proxies that the user's configuration has for containers.
pub(super) fn add_proxies(context: &Context, request: &mut CreateRequest) -> Result<(), Failure> {
    let mut env = request.config.env.take().unwrap_or_default();
    context.config()?.add_proxies(&context.client.endpoint().to_string(), &mut env);
    request.config.env = some(env);
    Ok(())
}

fn check(flags: &ContainerFlags) -> Parsed<()> {
    if flags.rm && !matches!(flags.restart.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".into());
    }
    if flags.memory_swappiness.is_some_and(|value| !(-1..=100).contains(&value)) {
        return Err("invalid value: --memory-swappiness: valid range is 0-100".into());
    }
    let of_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    for (flag, kind, mode, also) in [
        ("pid", "PID", &flags.pid, of_container(&flags.pid)),
        ("uts", "UTS", &flags.uts, false),
        ("userns", "USER", &flags.userns, false),
        ("cgroupns", "CGROUP", &flags.cgroupns, flags.cgroupns == "private"),
    ] {
        if !matches!(mode.as_str(), "" | "host") && !also {
            return Err(format!("--{flag}: invalid {kind} mode"));
        }
    }
    for stream in &flags.attach {
        if !matches!(stream.to_lowercase().as_str(), "stdin" | "stdout" | "stderr") {
            return flagged("-a, --attach", stream, Err("valid streams are STDIN, STDOUT and STDERR".into()));
        }
    }
    for server in &flags.dns {
        if server.parse::<std::net::IpAddr>().is_err() {
            return flagged("--dns", server, Err(format!("IP address is not correctly formatted: {server}")));
        }
    }
    if let Some(text) = flags.sysctl.iter().find(|text| !text.contains('=')) {
        return flagged("--sysctl", text, Err(format!("sysctl '{text}' is not allowed")));
    }
    if !flags.mac_address.is_empty() && !is_mac(&flags.mac_address) {
        return Err(format!("{} is not a valid mac address", flags.mac_address));
    }
    match flags.pull.as_str() {
        "always" | "missing" | "never" => Ok(()),
        other => Err(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        )),
    }
}

/// What is wrong with the value of a flag, with the flag named.
fn flagged<T>(flag: &str, text: &str, parsed: Parsed<T>) -> Parsed<T> {
    parsed.map_err(|why| format!("invalid argument {text:?} for \"{flag}\" flag: {why}"))
}

/// The values of a flag, parsed.
fn each<T>(flag: &str, texts: &[String], parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    texts.iter().map(|text| flagged(flag, text, parse(text))).collect()
}

/// Six bytes in hexadecimal, with colons or dashes.
fn is_mac(text: &str) -> bool {
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    [':', '-'].iter().any(|by| text.split(*by).count() == 6 && text.split(*by).all(byte))
}

fn resources(flags: &ContainerFlags) -> Parsed<Resources> {
    let mut mappings = Vec::new();
    let mut requests = flags.gpus.iter().map(|text| gpus(text)).collect::<Parsed<Vec<_>>>()?;
    let mut cdi = Vec::new();
    for text in &flags.device {
        match device(text)? {
            Device::Mapping(mapping) => mappings.push(mapping),
            Device::Cdi(name) => cdi.push(name),
        }
    }
    if !cdi.is_empty() {
        requests.push(DeviceRequest {
            driver: "cdi".into(),
            device_ids: Some(cdi),
            ..DeviceRequest::default()
        });
    }
    let rates = |list: &[String], parse: fn(&str) -> Parsed<_>| {
        list.iter().map(|text| parse(text)).collect::<Parsed<Vec<_>>>()
    };
    Ok(Resources {
        cpu_shares: flags.cpu_shares,
        memory: flags.memory.unwrap_or_default(),
        nano_cpus: flags.cpus.unwrap_or_default(),
        cgroup_parent: flags.cgroup_parent.clone(),
        blkio_weight: flags.blkio_weight,
        blkio_weight_device: some(
            flags.blkio_weight_device.iter().map(|text| weight(text)).collect::<Parsed<_>>()?,
        ),
        blkio_device_read_bps: some(rates(&flags.device_read_bps, bytes_rate)?),
        blkio_device_write_bps: some(rates(&flags.device_write_bps, bytes_rate)?),
        blkio_device_read_iops: some(rates(&flags.device_read_iops, operations_rate)?),
        blkio_device_write_iops: some(rates(&flags.device_write_iops, operations_rate)?),
        cpu_period: flags.cpu_period,
        cpu_quota: flags.cpu_quota,
        cpu_realtime_period: flags.cpu_rt_period,
        cpu_realtime_runtime: flags.cpu_rt_runtime,
        cpuset_cpus: flags.cpuset_cpus.clone(),
        cpuset_mems: flags.cpuset_mems.clone(),
        devices: some(mappings),
        device_cgroup_rules: some(flags.device_cgroup_rule.clone()),
        device_requests: some(requests),
        memory_reservation: flags.memory_reservation.unwrap_or_default(),
        memory_swap: flags.memory_swap.unwrap_or_default(),
        memory_swappiness: flags.memory_swappiness.filter(|value| *value >= 0),
        oom_kill_disable: flags.oom_kill_disable.then_some(true),
        pids_limit: flags.pids_limit,
        ulimits: some(each("--ulimit", &flags.ulimit, ulimit::ulimit)?),
        ..Resources::default()
    })
}

fn networks(flags: &ContainerFlags) -> Parsed<Vec<Attachment>> {
    let mut networks = flags.network.iter().map(|text| attachment(text)).collect::<Parsed<Vec<_>>>()?;
    let has_settings = !(flags.network_alias.is_empty()
        && flags.ip.is_empty()
        && flags.ip6.is_empty()
        && flags.link_local_ip.is_empty()
        && flags.mac_address.is_empty()
        && flags.link.is_empty());
    if networks.is_empty() && has_settings {
        networks.push(Attachment { name: "default".into(), ..Attachment::default() });
    }
    // The flags that are not part of --network are about the first one.
    if let (Some(first), true) = (networks.first_mut(), has_settings) {
        let settings = &mut first.settings;
        if !flags.network_alias.is_empty() {
            settings.aliases.get_or_insert_default().extend(flags.network_alias.iter().cloned());
        }
        if !(flags.ip.is_empty() && flags.ip6.is_empty() && flags.link_local_ip.is_empty()) {
            let ipam = settings.ipam_config.get_or_insert_default();
            *ipam = EndpointIpam {
                ipv4_address: flags.ip.clone(),
                ipv6_address: flags.ip6.clone(),
                link_local_ips: some(flags.link_local_ip.clone()),
            };
        }
        if !flags.mac_address.is_empty() {
            settings.mac_address = flags.mac_address.clone();
        }
        if first.name != "default" && first.name != "bridge" {
            settings.links = some(flags.link.clone());
        }
    }
    check_networks(&networks)?;
    Ok(networks)
}

/// What no engine would make sense of.
fn check_networks(networks: &[Attachment]) -> Parsed<()> {
    let is_own = |network: &&Attachment| {
        let predefined = ["default", "bridge", "host", "none"].contains(&network.name.as_str());
        !predefined && !network.name.starts_with("container:")
    };
    let own = networks.iter().filter(is_own).count();
    if own > 0 && own < networks.len() {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes".into(),
        );
    }
    if networks.iter().any(|n| n.settings.aliases.is_some() && !is_own(&n)) {
        return Err("network-scoped aliases are only supported for user-defined networks".into());
    }
    let mut seen = std::collections::BTreeSet::new();
    match networks.iter().find(|network| !seen.insert(&network.name)) {
        Some(twice) => Err(format!("network {:?} is specified multiple times", twice.name)),
        None => Ok(()),
    }
}

/// What Docker's API has no place for is asked for by label.
fn labels(flags: &ContainerFlags) -> Parsed<Map<String>> {
    let mut labels: Map<String> = env::labels(&flags.label_file, &flags.label)?.into_iter().collect();
    if let Some(action) = &flags.health_on_failure {
        labels.insert("wharf.health-on-failure".to_owned(), action.clone());
    }
    Ok(labels)
}

fn healthcheck(flags: &ContainerFlags) -> Parsed<Option<HealthConfig>> {
    let times =
        [flags.health_interval, flags.health_timeout, flags.health_start_period, flags.health_start_interval];
    let is_set = flags.health_cmd.is_some() || flags.health_retries != 0 || times.iter().any(Option::is_some);
    if flags.no_healthcheck {
        if is_set {
            return Err("--no-healthcheck conflicts with --health-* options".into());
        }
        return Ok(Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }));
    }
    if !is_set {
        return Ok(None);
    }
    if times.iter().flatten().any(|time| *time < 0) || flags.health_retries < 0 {
        return Err("health check times and retries cannot be negative".into());
    }
    Ok(Some(HealthConfig {
        test: flags.health_cmd.as_ref().map(|command| vec!["CMD-SHELL".into(), command.clone()]),
        interval: flags.health_interval.unwrap_or_default(),
        timeout: flags.health_timeout.unwrap_or_default(),
        start_period: flags.health_start_period.unwrap_or_default(),
        start_interval: flags.health_start_interval.unwrap_or_default(),
        retries: flags.health_retries,
    }))
}

/// `no`, `always`, `unless-stopped`, `on-failure[:retries]`.
pub(super) fn restart(text: &str) -> Parsed<RestartPolicy> {
    let (name, retries) = match text.split_once(':') {
        Some((name, retries)) => {
            let retries = retries.parse().map_err(|_| {
                format!("invalid restart policy format: maximum retry count must be an integer: {text}")
            })?;
            (name, retries)
        }
        None => (text, 0),
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count: retries })
}

/// `host:ip`, `host=ip`, or `host:host-gateway`.
fn add_host(text: &str) -> Parsed<String> {
    let (host, ip) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| format!("bad format for add-host: \"{text}\""))?;
    let bare = ip.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || (ip != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err()) {
        return Err(format!("invalid IP address in add-host: \"{ip}\""));
    }
    Ok(format!("{host}:{bare}"))
}

/// A seccomp profile is read here and sent whole; the engine may not see the file.
fn security_opt(text: &str) -> Parsed<String> {
    let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    match (key, value) {
        ("seccomp", "unconfined" | "builtin") => Ok(text.to_owned()),
        ("seccomp", file) if !file.is_empty() => {
            let profile = fs::read_to_string(file)
                .map_err(|e| format!("opening seccomp profile ({file}) failed: {e}"))?;
            let json: serde_json::Value = serde_json::from_str(&profile)
                .map_err(|e| format!("compacting json for seccomp profile ({file}) failed: {e}"))?;
            Ok(format!("seccomp={json}"))
        }
        ("no-new-privileges", "") => Ok(text.to_owned()),
        (_, "") => Err(format!("Invalid --security-opt: {text:?}")),
        // The engine knows what it knows.
        _ => Ok(text.to_owned()),
    }
}

/// `systempaths=unconfined` is said to the engine by empty lists of paths.
fn with_systempaths(mut host_config: HostConfig) -> HostConfig {
    if let Some(options) = &mut host_config.security_opt {
        let before = options.len();
        options.retain(|option| option != "systempaths=unconfined");
        if options.len() < before {
            host_config.masked_paths = Some(Vec::new());
            host_config.readonly_paths = Some(Vec::new());
        }
    }
    host_config
}

/// A file that gets the container's id; it must not be there yet, and goes when there is no container.
#[derive(Debug)]
pub(super) struct IdFile {
    path: Option<PathBuf>,
}

impl IdFile {
    pub(super) fn create(path: Option<&str>) -> Parsed<Self> {
        let Some(path) = path else { return Ok(Self { path: None }) };
        let create = fs::OpenOptions::new().write(true).create_new(true).open(path);
        match create {
            Ok(_) => Ok(Self { path: Some(Path::new(path).to_owned()) }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )),
            Err(error) => Err(format!("failed to create the container ID file {path}: {error}")),
        }
    }

    pub(super) fn write(mut self, id: &str) -> Parsed<()> {
        match self.path.take() {
            Some(path) => fs::write(&path, id)
                .map_err(|e| format!("failed to write the container ID to {}: {e}", path.display())),
            None => Ok(()),
        }
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // The failure that led here is what is told.
            let _ = fs::remove_file(path);
        }
    }
}

fn pairs(list: &[String]) -> Map<String> {
    list.iter().map(|text| pair(text)).collect()
}

/// `None` for what is empty.
fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(words: &[&str]) -> Parsed<CreateRequest> {
        let command = ContainerFlags::augment_args(clap::Command::new("run").disable_help_flag(true));
        let words: Vec<_> = words.iter().map(std::ffi::OsString::from).collect();
        let words = std::iter::once("run".into()).chain(crate::flags::normalise(&command, words));
        let matches = command.try_get_matches_from(words).map_err(|e| e.to_string())?;
        build(&ContainerFlags::from_arg_matches(&matches).map_err(|e| e.to_string())?)
    }

    #[test]
    fn a_long_command_line() {
        let request = parse(&[
            "-it",
            "-p",
            "8080:80",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit=20",
            "-v",
            "/host:/c:ro",
            "-v",
            "/anon",
            "--tmpfs",
            "/t",
            "-e",
            "A=b",
            "-u",
            "1000:1000",
            "-w",
            "/t",
            "--hostname",
            "h",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--net",
            "name=back,alias=db",
            "--security-opt",
            "systempaths=unconfined",
            "--restart",
            "on-failure:3",
            "img",
            "sh",
            "-c",
            "exit 3",
        ])
        .unwrap();
        let (config, host) = (&request.config, &request.host_config);
        assert_eq!(config.cmd.as_ref().unwrap().0, ["sh", "-c", "exit 3"]);
        assert!(config.tty && config.open_stdin);
        assert_eq!(host.binds.as_deref(), Some(&["/host:/c:ro".to_owned()][..]));
        assert!(config.volumes.as_ref().unwrap().contains_key("/anon"));
        assert_eq!((host.resources.memory, host.resources.nano_cpus), (64 << 20, 500_000_000));
        assert_eq!(host.resources.pids_limit, Some(20));
        assert_eq!(host.network_mode, "back");
        assert_eq!(host.masked_paths, Some(vec![]));
        assert_eq!(host.restart_policy.maximum_retry_count, 3);
        assert!(config.exposed_ports.as_ref().unwrap().contains_key("80/tcp"));
        assert_eq!(config.entrypoint, None);
    }

    #[test]
    fn mistakes() {
        assert!(parse(&["--rm", "--restart", "always", "img"]).unwrap_err().contains("--restart and --rm"));
        assert!(parse(&["--add-host", "x:y", "img"]).is_err());
        assert!(parse(&["--security-opt", "what", "img"]).is_err());
        assert!(parse(&["--no-healthcheck", "--health-cmd", "x", "img"]).is_err());
        assert!(
            parse(&["--net", "a", "--net", "a", "img"]).unwrap_err().contains("specified multiple times")
        );
        assert!(parse(&["--net", "none", "--net", "a", "img"]).unwrap_err().contains("cannot attach both"));
        assert!(parse(&["--network-alias", "x", "img"]).unwrap_err().contains("network-scoped aliases"));
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn id_files_go_without_a_container() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let text = path.to_str();
        drop(IdFile::create(text).unwrap());
        assert!(!path.exists());
        IdFile::create(text).unwrap().write("abc").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
        assert!(IdFile::create(text).unwrap_err().contains("container ID file found"));
    }
}
