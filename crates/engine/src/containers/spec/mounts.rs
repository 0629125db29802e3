//! Mounts of a container: the kernel's file systems, the engine's files, the user's.

use super::Surroundings;
use wharf_model::container::{ContainerRecord, NamespaceMode, ResolvedMount};
use wharf_oci::runtime_spec::Mount;

/// All mounts in the order they are made: parents before what lies below them.
pub fn build(record: &ContainerRecord, around: &Surroundings<'_>) -> Vec<Mount> {
    let spec = &record.spec;
    let targets: Vec<&str> = record.mounts.iter().map(|m| m.target.trim_end_matches('/')).collect();
    let replaced = |destination: &str| targets.contains(&destination);
    let mut mounts: Vec<Mount> = defaults(record).into_iter().filter(|m| !replaced(&m.destination)).collect();
    mounts.extend(around.files.iter().filter(|(_, destination)| !replaced(destination)).map(
        |(source, destination)| {
            Mount::new(destination, "bind", &source.to_string_lossy(), &["rbind", "rprivate"])
        },
    ));
    let mut users: Vec<&ResolvedMount> = record.mounts.iter().collect();
    users.sort_by_key(|m| m.target.split('/').filter(|p| !p.is_empty()).count());
    mounts.extend(users.into_iter().map(user_mount));
    if spec.privileged {
        for m in mounts.iter_mut().filter(|m| m.destination.starts_with("/sys")) {
            m.options.retain(|o| o != "ro");
        }
    }
    mounts
}

fn defaults(record: &ContainerRecord) -> Vec<Mount> {
    let mut mounts = Mount::usual();
    for mount in &mut mounts {
        match mount.destination.as_str() {
            "/dev/shm" if record.spec.ipc == NamespaceMode::Host => {
                *mount = Mount::new("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate"]);
            }
            "/dev/shm" if record.spec.shm_size > 0 => {
                mount.options.retain(|o| !o.starts_with("size="));
                mount.options.push(format!("size={}", record.spec.shm_size));
            }
            // The kernel only lets the owner of a network namespace mount its sysfs: the host's is bound.
            "/sys" if record.spec.network == wharf_model::container::NetworkMode::Host => {
                let options = ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"];
                *mount = Mount::new("/sys", "bind", "/sys", &options);
            }
            _ => {}
        }
    }
    mounts
}

fn user_mount(resolved: &ResolvedMount) -> Mount {
    let access = if resolved.read_write { "rw" } else { "ro" };
    let mut options: Vec<String> = resolved.options.clone();
    match resolved.kind.as_str() {
        "tmpfs" => {
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned(), access.to_owned()];
            if !options.iter().any(|o| o == "exec") {
                all.push("noexec".to_owned());
            }
            if !options.iter().any(|o| o.starts_with("mode=")) {
                all.push("mode=1777".to_owned());
            }
            all.append(&mut options);
            Mount { options: all, ..Mount::new(&resolved.target, "tmpfs", "tmpfs", &[]) }
        }
        _ => {
            if !options.iter().any(|o| o == "bind" || o == "rbind") {
                options.push("rbind".to_owned());
            }
            if !options
                .iter()
                .any(|o| o.ends_with("private") || o.ends_with("slave") || o.ends_with("shared"))
            {
                options.push("rprivate".to_owned());
            }
            options.push(access.to_owned());
            Mount { options, ..Mount::new(&resolved.target, "bind", &resolved.source.to_string_lossy(), &[]) }
        }
    }
}

/// Propagation of the root: what a shared or slave bind needs.
pub fn root_propagation(record: &ContainerRecord) -> &'static str {
    let has = |word: &str| record.mounts.iter().any(|m| m.options.iter().any(|o| o.ends_with(word)));
    if has("shared") {
        "rshared"
    } else if has("slave") {
        "rslave"
    } else {
        ""
    }
}
