//! Devices by name: the host's CDI specifications (Container Device Interface, SPEC.md) and what they change.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use wharf_model::container::merge_env;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::runtime_spec::{Device, DeviceRule, Linux, Mount, Spec};

/// The largest specification that is read; one for eight GPUs has some 100 KiB.
const FILE_LIMIT: u64 = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: String,
    #[serde(default)]
    devices: Vec<Named>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Bind>,
    hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    path: String,
    host_path: String,
    permissions: String,
    file_mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bind {
    host_path: String,
    container_path: String,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hook {
    hook_name: String,
}

/// The names of a kind's devices that are described.
pub fn devices_of_kind(kind: &str, directories: &[PathBuf]) -> Vec<String> {
    // What cannot be read is reported when a device of it is asked for.
    let (files, _) = read_all(directories);
    let files = files.into_iter().filter(|file| file.kind == kind);
    files.flat_map(|file| file.devices.into_iter().map(|d| d.name)).collect()
}

/// Gives a container the devices named, `vendor.com/class=name`.
///
/// # Errors
/// When a name is described nowhere, or a description asks for what is not there.
pub fn inject(spec: &mut Spec, names: &[String], directories: &[PathBuf]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let failed = |why: String| Error::invalid(format!("CDI device injection failed: {why}"));
    let (files, unread) = read_all(directories);
    let mut edits: Vec<Edits> = Vec::new();
    let (mut unknown, mut seen) = (Vec::new(), Vec::new());
    for name in names {
        // The later directory wins.
        let found = files.iter().enumerate().rev().find_map(|(index, file)| {
            let device = name.strip_prefix(&file.kind)?.strip_prefix('=')?;
            Some((index, file, file.devices.iter().find(|d| d.name == device)?))
        });
        let Some((index, file, device)) = found else {
            unknown.push(name.as_str());
            continue;
        };
        if !seen.contains(&index) {
            seen.push(index);
            edits.push(file.container_edits.clone());
        }
        edits.push(device.container_edits.clone());
    }
    if !unknown.is_empty() {
        let about = if unread.is_empty() { String::new() } else { format!(" ({})", unread.join("; ")) };
        return Err(failed(format!("unresolvable CDI devices {}{about}", unknown.join(", "))));
    }
    for edit in edits {
        apply(spec, edit).map_err(failed)?;
    }
    Ok(())
}

fn apply(spec: &mut Spec, edits: Edits) -> Result<(), String> {
    if let Some(hook) = edits.hooks.first() {
        return Err(format!(
            "a hook {:?} is to be run, which this engine does not do: generate a specification without hooks",
            hook.hook_name
        ));
    }
    if let Some(process) = &mut spec.process {
        process.env = merge_env(&process.env, &edits.env);
        process.user.additional_gids.extend(edits.additional_gids);
    }
    let linux = spec.linux.get_or_insert_default();
    for node in edits.device_nodes {
        add_node(linux, &node)?;
    }
    for bind in edits.mounts {
        let kind = if bind.kind.is_empty() { "bind" } else { &bind.kind };
        let mut options = if bind.options.is_empty() { vec!["ro".to_owned()] } else { bind.options };
        if kind == "bind" && !options.iter().any(|o| o == "bind" || o == "rbind") {
            options.push("rbind".to_owned());
        }
        spec.mounts.retain(|m| m.destination != bind.container_path);
        spec.mounts.push(Mount { options, ..Mount::new(&bind.container_path, kind, &bind.host_path, &[]) });
    }
    Ok(())
}

fn add_node(linux: &mut Linux, node: &Node) -> Result<(), String> {
    let host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let found =
        super::devices::node(Path::new(host)).ok_or_else(|| format!("{host} is no device of the host"))?;
    let device = Device {
        path: node.path.clone(),
        file_mode: node.file_mode.or(found.file_mode),
        uid: node.uid.or(found.uid),
        gid: node.gid.or(found.gid),
        ..found
    };
    linux.resources.get_or_insert_default().devices.push(DeviceRule {
        allow: true,
        kind: device.kind.clone(),
        major: Some(device.major),
        minor: Some(device.minor),
        access: if node.permissions.is_empty() { "rwm".to_owned() } else { node.permissions.clone() },
    });
    linux.devices.retain(|d| d.path != device.path);
    linux.devices.push(device);
    Ok(())
}

/// All specifications in the order of their directories, and what could not be read.
fn read_all(directories: &[PathBuf]) -> (Vec<File>, Vec<String>) {
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    for directory in directories {
        // One that is not there describes nothing.
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => match read(&path) {
                    Ok(file) => files.push(file),
                    Err(e) => unread.push(e.full()),
                },
                Some("yaml" | "yml") => {
                    unread.push(format!("{}: only JSON is read: convert it", path.display()));
                }
                _ => {}
            }
        }
    }
    (files, unread)
}

fn read(path: &Path) -> Result<File> {
    use std::io::Read;
    let failed = |e| Error::wrap(ErrorKind::Invalid, format!("read {}", path.display()), e);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_LIMIT).read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text)
        .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("read {}", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_oci::runtime_spec::Process;

    const TEXT: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/net", "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {"name": "one", "containerEdits": {
                "env": ["ONE=1"],
                "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/zero", "permissions": "rw", "gid": 44}],
                "mounts": [{"hostPath": "/tmp", "containerPath": "/cdi", "options": ["ro", "rbind"]}]}},
            {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/x"}]}}]}"#;

    fn injected(names: &[&str]) -> Result<Spec> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("v.json"), TEXT).unwrap();
        std::fs::write(directory.path().join("w.yaml"), "").unwrap();
        let mut spec = Spec { process: Some(Process::default()), ..Spec::default() };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        inject(&mut spec, &names, &[directory.path().to_owned()]).map(|()| spec)
    }

    #[test]
    fn edits_are_applied() {
        let spec = injected(&["vendor.com/net=one"]).unwrap();
        assert_eq!(spec.process.unwrap().env, ["ALL=1", "ONE=1"]);
        let linux = spec.linux.unwrap();
        let device = &linux.devices[0];
        assert_eq!(
            (device.path.as_str(), device.major, device.minor, device.gid),
            ("/dev/x", 1, 5, Some(44))
        );
        assert_eq!(linux.resources.unwrap().devices[0].access, "rw");
        assert_eq!((spec.mounts[0].source.as_str(), spec.mounts[0].destination.as_str()), ("/tmp", "/cdi"));
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let message = injected(&["vendor.com/net=two", "x.y/z=1"]).unwrap_err().full();
        let begin = "CDI device injection failed: unresolvable CDI devices vendor.com/net=two, x.y/z=1";
        assert!(message.starts_with(begin) && message.contains("w.yaml"), "{message}");
        assert!(injected(&["vendor.com/net=hooked"]).unwrap_err().full().contains("createContainer"));
    }
}
