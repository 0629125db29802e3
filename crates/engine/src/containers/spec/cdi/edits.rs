//! What a device changes of a container's configuration.

use super::file::{Bind, Edits, Hook, Node};
use crate::containers::spec::devices;
use std::path::Path;
use wharf_model::container::merge_env;
use wharf_oci::runtime_spec::{self as oci, Device, DeviceRule, Hooks, Linux, Mount, Process, Spec};

/// How long a hook may take that names no limit: the slowest known reads all libraries of an image, a matter of seconds. Less
/// than a whole start may take, so that the error names the hook.
const HOOK_LIMIT_S: u32 = 60;

pub(super) fn apply(spec: &mut Spec, edits: Edits) -> Result<(), String> {
    if edits.intel_rdt.is_some() {
        return Err("intelRdt is asked for, which this engine does not support".to_owned());
    }
    if let Some(process) = &mut spec.process {
        process.env = merge_env(&process.env, &edits.env);
        for gid in edits.additional_gids.into_iter().filter(|gid| *gid != 0) {
            if !process.user.additional_gids.contains(&gid) {
                process.user.additional_gids.push(gid);
            }
        }
    }
    let linux = spec.linux.get_or_insert_default();
    for node in edits.device_nodes {
        add_node(linux, spec.process.as_ref(), &node)?;
    }
    for bind in edits.mounts {
        add_mount(&mut spec.mounts, bind);
    }
    for hook in edits.hooks {
        add_hook(spec.hooks.get_or_insert_default(), hook)?;
    }
    Ok(())
}

fn add_mount(mounts: &mut Vec<Mount>, bind: Bind) {
    let kind = if bind.kind.is_empty() { "bind" } else { &bind.kind };
    let mut options = if bind.options.is_empty() { vec!["ro".to_owned()] } else { bind.options };
    if kind == "bind" && !options.iter().any(|o| o == "bind" || o == "rbind") {
        options.push("rbind".to_owned());
    }
    mounts.retain(|m| m.destination != bind.container_path);
    mounts.push(Mount { options, ..Mount::new(&bind.container_path, kind, &bind.host_path, &[]) });
}

fn add_hook(hooks: &mut Hooks, hook: Hook) -> Result<(), String> {
    let list = match hook.hook_name.as_str() {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        "poststop" => &mut hooks.poststop,
        other => return Err(format!("there is no hook {other:?}")),
    };
    if !hook.path.starts_with('/') {
        return Err(format!("the path of a hook is not absolute: {:?}", hook.path));
    }
    let timeout = Some(hook.timeout.unwrap_or(HOOK_LIMIT_S));
    list.push(oci::Hook { path: hook.path, args: hook.args, env: hook.env, timeout });
    Ok(())
}

fn add_node(linux: &mut Linux, process: Option<&Process>, node: &Node) -> Result<(), String> {
    let found = on_host(node)?;
    // As for a device without an owner: the container's user is to use it.
    let user = process.map(|p| (p.user.uid, p.user.gid)).unwrap_or_default();
    let device = Device {
        path: node.path.clone(),
        file_mode: node.file_mode.or(found.file_mode),
        uid: node.uid.or(Some(user.0).filter(|uid| *uid > 0)).or(found.uid),
        gid: node.gid.or(Some(user.1).filter(|gid| *gid > 0)).or(found.gid),
        ..found
    };
    if device.kind != "p" {
        linux.resources.get_or_insert_default().devices.push(DeviceRule {
            allow: true,
            kind: if device.kind == "u" { "c".to_owned() } else { device.kind.clone() },
            major: Some(device.major),
            minor: Some(device.minor),
            access: if node.permissions.is_empty() { "rwm".to_owned() } else { node.permissions.clone() },
        });
    }
    linux.devices.retain(|d| d.path != device.path);
    linux.devices.push(device);
    Ok(())
}

/// The device by its numbers, or as it is on the host.
fn on_host(node: &Node) -> Result<Device, String> {
    let kind = node.kind.as_str();
    if !matches!(kind, "" | "b" | "c" | "u" | "p") {
        return Err(format!("{}: unknown device type {kind:?}", node.path));
    }
    if kind == "p" || !kind.is_empty() && node.major.is_some_and(|n| n != 0) {
        let (major, minor) = (node.major.unwrap_or(0), node.minor.unwrap_or(0));
        return Ok(Device { kind: kind.to_owned(), major, minor, ..Device::default() });
    }
    let host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let found = devices::node(Path::new(host)).ok_or_else(|| format!("{host} is no device of the host"))?;
    if !kind.is_empty() && kind != found.kind {
        return Err(format!("{host} is a device of type {:?}, not {kind:?}", found.kind));
    }
    Ok(Device {
        major: node.major.filter(|n| *n != 0).unwrap_or(found.major),
        minor: node.minor.filter(|n| *n != 0).unwrap_or(found.minor),
        ..found
    })
}
