//! Devices of a container: nodes and access.

use wharf_model::container::ContainerRecord;
use wharf_oci::runtime_spec::{Device, DeviceRule};

/// Access rules: nothing but the default devices, the user's, and what `--device-cgroup-rule` says.
pub fn rules(record: &ContainerRecord) -> Vec<DeviceRule> {
    let spec = &record.spec;
    if spec.privileged {
        return vec![DeviceRule { allow: true, access: "rwm".to_owned(), ..DeviceRule::default() }];
    }
    let mut rules = vec![DeviceRule { allow: false, access: "rwm".to_owned(), ..DeviceRule::default() }];
    rules.extend(spec.device_rules.iter().cloned());
    rules
}

/// Every device node of the host's `/dev`, for privileged containers; terminals and what the container has
/// of its own are left out.
pub fn of_host() -> Vec<Device> {
    let mut devices = Vec::new();
    collect(std::path::Path::new("/dev"), &mut devices);
    devices
}

fn collect(directory: &std::path::Path, devices: &mut Vec<Device>) {
    const OWN: [&str; 9] = ["pts", "shm", "fd", "mqueue", "console", "null", "zero", "full", ".udev"];
    // A directory that vanished meanwhile holds nothing.
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if OWN.contains(&name.as_ref()) || name.starts_with("tty") && name.len() == 3 {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&path, devices),
            Ok(_) => devices.extend(node(&path)),
            Err(_) => {}
        }
    }
}

/// The node at a path of the host; `None` when it is none.
pub fn node(path: &std::path::Path) -> Option<Device> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let kind = metadata.file_type();
    let kind = if kind.is_char_device() {
        "c"
    } else if kind.is_block_device() {
        "b"
    } else {
        return None;
    };
    Some(Device {
        path: path.to_string_lossy().into_owned(),
        kind: kind.to_owned(),
        major: rustix::fs::major(metadata.rdev()).into(),
        minor: rustix::fs::minor(metadata.rdev()).into(),
        file_mode: Some(metadata.mode() & 0o7777),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
    })
}
