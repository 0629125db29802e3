//! Devices: by path, by rule, by name.

use crate::error::{ApiError, ApiResult};
use axum::http::StatusCode;
use std::path::PathBuf;
use wharf_docker_api::types::host_config::{DeviceMapping, DeviceRequest, Resources as WireResources};
use wharf_engine::containers::spec::{cdi, devices};
use wharf_oci::runtime_spec::{Device, DeviceRule};

/// The names (CDI) that requests for devices come to: those that are given, or what stands for a GPU.
pub(super) fn names(wire: &WireResources, directories: &[PathBuf]) -> ApiResult<Vec<String>> {
    let mut all = Vec::new();
    for request in wire.device_requests.iter().flatten() {
        match request.driver.as_str() {
            "cdi" => all.extend(request.device_ids.iter().flatten().cloned()),
            "" | "nvidia" if is_for_gpus(request) => all.extend(gpus(request, directories)?),
            _ => return Err(no_driver(request)),
        }
    }
    Ok(all)
}

fn is_for_gpus(request: &DeviceRequest) -> bool {
    request.capabilities.iter().flatten().flatten().any(|c| c == "gpu" || c == "nvidia")
}

fn no_driver(request: &DeviceRequest) -> ApiError {
    let sets = request.capabilities.iter().flatten().map(|set| format!("[{}]", set.join(" ")));
    let sets = sets.collect::<Vec<_>>().join(" ");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("could not select device driver {:?} with capabilities: [{sets}]", request.driver),
    )
}

/// `--gpus` in terms of NVIDIA's names: `all`, the first so many, or by number and UUID.
fn gpus(request: &DeviceRequest, directories: &[PathBuf]) -> ApiResult<Vec<String>> {
    const KIND: &str = "nvidia.com/gpu";
    let known = cdi::devices_of_kind(KIND, directories);
    if known.is_empty() {
        return Err(no_driver(request));
    }
    let ids: Vec<String> = match &request.device_ids {
        Some(ids) if !ids.is_empty() => ids.clone(),
        _ if request.count < 0 => vec!["all".to_owned()],
        _ => (0..request.count).map(|n| n.to_string()).collect(),
    };
    Ok(ids.into_iter().map(|id| format!("{KIND}={id}")).collect())
}

pub(super) fn of(wire: &WireResources) -> ApiResult<(Vec<Device>, Vec<DeviceRule>)> {
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
    let nodes: Vec<Device> = entries
        .flatten()
        .filter_map(|e| {
            devices::node(&e.path())
                .map(|n| Device { path: format!("{inside}/{}", e.file_name().to_string_lossy()), ..n })
        })
        .collect();
    if nodes.is_empty() {
        return Err(ApiError::bad_request(format!(
            "error gathering device information while adding custom device \"{}\": not a device node",
            mapping.path_on_host
        )));
    }
    Ok(nodes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_description_there_is_no_driver() {
        let request = DeviceRequest {
            count: -1,
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        };
        let wire = WireResources { device_requests: Some(vec![request]), ..WireResources::default() };
        let message = names(&wire, &[]).unwrap_err().message;
        assert!(
            message.contains("could not select device driver \"\" with capabilities: [[gpu]]"),
            "{message}"
        );
        let directory = tempfile::tempdir().unwrap();
        let text =
            r#"{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu","devices":[{"name":"0"},{"name":"all"}]}"#;
        std::fs::write(directory.path().join("n.json"), text).unwrap();
        assert_eq!(names(&wire, &[directory.path().to_owned()]).unwrap(), ["nvidia.com/gpu=all"]);
    }
}
