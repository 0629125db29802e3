//! What Docker refuses of a request to create a container before anything is made, in its words.

use crate::error::{ApiError, ApiResult};
use crate::version::Version;
use std::net::IpAddr;
use wharf_docker_api::types::container::{Config, CreateRequest};
use wharf_docker_api::types::host_config::{HostConfig, Resources};

/// The least memory that a container can be held to.
const MIN_MEMORY: i64 = 6 << 20;

/// The version 1.x from which on a container is made with several networks.
const SEVERAL_NETWORKS: u32 = 44;

fn refuse<T>(message: impl Into<String>) -> ApiResult<T> {
    Err(ApiError::bad_request(message))
}

/// Checks a request. Returns what the user should know.
pub(crate) fn create(
    request: &CreateRequest,
    version: Version,
    signal: impl Fn(&str) -> bool,
) -> ApiResult<Vec<String>> {
    if request.config == Config::default() {
        return refuse("config cannot be empty in order to create a container");
    }
    config(&request.config, signal)?;
    host(&request.host_config)?;
    if version.is_before(SEVERAL_NETWORKS) {
        one_network(
            request.networking_config.endpoints_config.iter().flatten().map(|(name, _)| name.as_str()),
        )?;
    }
    let mut warnings = Vec::new();
    let host = &request.host_config;
    if host.network_mode == "host" && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

/// A container of an older version is connected to further networks after it was made.
fn one_network<'a>(names: impl Iterator<Item = &'a str>) -> ApiResult<()> {
    match names.collect::<Vec<_>>() {
        several if several.len() > 1 => refuse(format!(
            "Container cannot be created with multiple network endpoints: {}",
            several.join(", ")
        )),
        _ => Ok(()),
    }
}

fn config(config: &Config, signal: impl Fn(&str) -> bool) -> ApiResult<()> {
    let directory = &config.working_dir;
    if !directory.is_empty() && !directory.starts_with('/') {
        return refuse(format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        ));
    }
    if !config.stop_signal.is_empty() && !signal(&config.stop_signal) {
        return refuse(format!("invalid signal: {}", config.stop_signal));
    }
    environment(config.env.iter().flatten())
}

/// Each variable has a name.
pub(crate) fn environment<'a>(mut variables: impl Iterator<Item = &'a String>) -> ApiResult<()> {
    match variables.find(|v| v.is_empty() || v.starts_with('=') || v.contains('\0')) {
        Some(nameless) => refuse(format!("invalid environment variable: {nameless}")),
        None => Ok(()),
    }
}

fn host(host: &HostConfig) -> ApiResult<()> {
    for entry in host.extra_hosts.iter().flatten() {
        extra_host(entry)?;
    }
    if let Some(server) = host.dns.iter().flatten().find(|d| d.parse::<IpAddr>().is_err()) {
        return refuse(format!("bad nameserver address {server}: an IP address is expected"));
    }
    if host.restart_policy.maximum_retry_count != 0 && host.restart_policy.name != "on-failure" {
        return refuse("invalid restart policy: maximum retry count can only be used with 'on-failure'");
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return refuse(format!("invalid isolation ({}): linux only supports 'default'", host.isolation));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if host.network_mode == "container:" {
        return refuse("invalid network mode: invalid container format container:<name|id>");
    }
    Ok(())
}

/// `name:address` or `name:host-gateway`.
fn extra_host(entry: &str) -> ApiResult<()> {
    let Some((name, address)) = entry.split_once([':', '=']).filter(|(name, _)| !name.is_empty()) else {
        return refuse(format!("bad format for add-host: {entry:?}"));
    };
    let address = address.trim_matches(['[', ']']);
    if address == "host-gateway" || address.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    refuse(format!("invalid IP address in add-host: {address:?} (for {name:?})"))
}

/// Limits, for creation and update alike.
pub(crate) fn resources(wire: &Resources) -> ApiResult<()> {
    memory(wire)?;
    processors(wire)?;
    if wire.blkio_weight != 0 && !(10..=1000).contains(&wire.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    Ok(())
}

fn memory(wire: &Resources) -> ApiResult<()> {
    if wire.memory != 0 && wire.memory < MIN_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if wire.memory == 0 && wire.memory_swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if wire.memory > 0 && wire.memory_swap > 0 && wire.memory_swap < wire.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if let Some(value) = wire.memory_swappiness.filter(|s| !(-1..=100).contains(s)) {
        return refuse(format!("Invalid value: {value}, valid memory swappiness range is 0-100"));
    }
    if wire.memory_reservation != 0 && wire.memory_reservation < MIN_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if wire.memory > 0 && wire.memory_reservation > wire.memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    Ok(())
}

fn processors(wire: &Resources) -> ApiResult<()> {
    if wire.nano_cpus != 0 && wire.cpu_period != 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if wire.nano_cpus != 0 && wire.cpu_quota != 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let there = std::thread::available_parallelism().map_or(1, |n| n.get() as i64);
    if wire.nano_cpus < 0 || wire.nano_cpus > there.saturating_mul(1_000_000_000) {
        return refuse(format!(
            "range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available"
        ));
    }
    if wire.cpu_period != 0 && !(1_000..=1_000_000).contains(&wire.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if wire.cpu_quota > 0 && wire.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if wire.cpu_shares < 0 {
        return refuse(format!("invalid CPU shares ({}): value must be a positive integer", wire.cpu_shares));
    }
    set("cpus", "CPUs", &wire.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    set("mems", "memory nodes", &wire.cpuset_mems, "/sys/devices/system/node/online")
}

/// A list such as `0-2,5` of what the machine has.
fn set(kind: &str, what: &str, wanted: &str, online: &str) -> ApiResult<()> {
    let Some(numbers) = parse_set(wanted) else {
        return refuse(format!("Invalid value {wanted} for cpuset {kind}: invalid format: {wanted}"));
    };
    // Machines without nodes of memory have the one.
    let there = std::fs::read_to_string(online).unwrap_or_else(|_| "0".to_owned());
    let there = there.trim();
    let has = parse_set(there).unwrap_or_default();
    if numbers.iter().all(|(first, last)| has.iter().any(|(low, high)| low <= first && last <= high)) {
        return Ok(());
    }
    refuse(format!("Requested {what} are not available - requested {wanted}, available: {there}"))
}

fn parse_set(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    text.split(',').filter(|part| !part.is_empty()).map(|part| range(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::NEWEST;

    fn told(result: ApiResult<()>) -> String {
        result.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn limits_that_no_kernel_takes() {
        let check = |edit: fn(&mut Resources)| {
            let mut wire = Resources::default();
            edit(&mut wire);
            told(resources(&wire))
        };
        assert_eq!(check(|_| {}), "");
        assert_eq!(check(|r| (r.memory, r.memory_swap) = (64 << 20, -1)), "");
        assert!(check(|r| r.memory = -5).contains("6MB"));
        assert!(check(|r| r.memory_swap = 1 << 30).contains("always set the Memory limit"));
        assert!(check(|r| r.memory_swappiness = Some(200)).contains("0-100"));
        assert!(check(|r| r.nano_cpus = 1 << 60).contains("range of CPUs"));
        assert!(check(|r| r.cpu_period = 5).contains("1ms"));
        assert!(check(|r| r.cpuset_cpus = "9999".to_owned()).contains("requested 9999, available: 0"));
        assert!(check(|r| r.cpuset_cpus = "x".to_owned()).contains("invalid format: x"));
        assert_eq!(check(|r| r.cpuset_cpus = "0".to_owned()), "");
    }

    #[test]
    fn requests_that_cannot_run() {
        let check = |json: serde_json::Value| {
            let request: CreateRequest = serde_json::from_value(json).unwrap();
            create(&request, NEWEST, |name| name == "SIGTERM").map(|w| w.len()).map_err(|e| e.to_string())
        };
        assert_eq!(check(serde_json::json!({"Image": "a", "StopSignal": "SIGTERM"})), Ok(0));
        for (json, text) in [
            (serde_json::json!({}), "config cannot be empty"),
            (serde_json::json!({"Image": "a", "WorkingDir": "rel"}), "absolute path"),
            (serde_json::json!({"Image": "a", "StopSignal": "NOPE"}), "invalid signal: NOPE"),
            (serde_json::json!({"Image": "a", "Env": ["=x"]}), "invalid environment variable: =x"),
            (
                serde_json::json!({"Image": "a", "HostConfig": {"ExtraHosts": ["x"]}}),
                "bad format for add-host: \"x\"",
            ),
            (serde_json::json!({"Image": "a", "HostConfig": {"Dns": ["x"]}}), "bad nameserver address x"),
        ] {
            assert!(check(json).unwrap_err().contains(text), "{text}");
        }
        let ports = serde_json::json!({"80/tcp": [{"HostPort": "80"}]});
        let two = serde_json::json!({"EndpointsConfig": {"a": {}, "b": null}});
        assert_eq!(check(serde_json::json!({"Image": "a", "NetworkingConfig": two})), Ok(0));
        assert!(one_network(["a", "b"].into_iter()).unwrap_err().to_string().ends_with("endpoints: a, b"));
        assert!(one_network(["a"].into_iter()).is_ok());
        let host = serde_json::json!({"NetworkMode": "host", "PortBindings": ports});
        assert_eq!(check(serde_json::json!({"Image": "a", "HostConfig": host})), Ok(1));
    }
}
