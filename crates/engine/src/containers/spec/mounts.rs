//! Mounts of a container: the kernel's file systems, the engine's files, the user's.

use super::Surroundings;
use wharf_model::container::{ContainerRecord, NamespaceMode, ResolvedMount, Shm};
use wharf_oci::runtime_spec::Mount;

/// All mounts in the order they are made: parents before what lies below them.
pub fn build(record: &ContainerRecord, around: &Surroundings<'_>) -> Vec<Mount> {
    let spec = &record.spec;
    let targets: Vec<&str> = record.mounts.iter().map(|m| m.target.trim_end_matches('/')).collect();
    let replaced = |destination: &str| targets.contains(&destination);
    // Volumes are on the disk as if there were no user namespace.
    let idmap = around.users(record).map(|_| "idmap");
    let mut mounts: Vec<Mount> =
        defaults(record, around).into_iter().filter(|m| !replaced(&m.destination)).collect();
    let files =
        around.files.iter().filter(|(_, destination)| !replaced(destination)).map(|(source, destination)| {
            // Who cannot write to its root does not write to these, either.
            let access = if spec.read_only { "ro" } else { "rw" };
            Mount::new(destination, "bind", &source.to_string_lossy(), &["rbind", "rprivate", access])
        });
    // The engine's files lie in a volume over /etc, too.
    let mut others: Vec<Mount> = files.collect();
    others.extend(record.mounts.iter().map(|mount| match around.layers.get(&mount.target) {
        Some(layers) => image_mount(mount, layers, idmap),
        None => user_mount(mount, idmap),
    }));
    others.sort_by_key(|m| m.destination.split('/').filter(|p| !p.is_empty()).count());
    mounts.extend(others);
    if idmap.is_some() && spec.ipc == NamespaceMode::Host {
        // Only the owner of an IPC namespace mounts its queues.
        mounts.retain(|m| m.kind != "mqueue");
    }
    if spec.writable_cgroups {
        for m in mounts.iter_mut().filter(|m| m.kind == "cgroup") {
            m.options.retain(|o| o != "ro");
        }
    }
    if spec.privileged {
        for m in mounts.iter_mut().filter(|m| m.destination.starts_with("/sys")) {
            m.options.retain(|o| o != "ro");
        }
    }
    mounts
}

fn defaults(record: &ContainerRecord, around: &Surroundings<'_>) -> Vec<Mount> {
    let donor = around.shared.get("ipc");
    let mut mounts = Mount::usual();
    if record.spec.shm == Shm::None {
        mounts.retain(|m| m.destination != "/dev/shm");
    }
    for mount in &mut mounts {
        match mount.destination.as_str() {
            "/dev/shm" if record.spec.ipc == NamespaceMode::Host => {
                *mount = Mount::new("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate"]);
            }
            "/dev/shm" if donor.is_some() => {
                let of = donor.map(|pid| format!("{MOUNTS_OF}{pid}")).unwrap_or_default();
                *mount = Mount::new("/dev/shm", "bind", "/dev/shm", &["bind", "rprivate", &of]);
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

fn user_mount(resolved: &ResolvedMount, idmap: Option<&str>) -> Mount {
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
            let explicit = options.iter().any(|o| o == "ro");
            let access = if access == "ro" && !explicit && can_be_read_only_below() { "rro" } else { access };
            if !explicit || access == "rw" {
                options.push(access.to_owned());
            }
            if !resolved.subpath.is_empty() {
                options.push(format!("{SUBPATH}{}", resolved.subpath));
            }
            if resolved.kind == "volume" && !resolved.of_host {
                options.extend(idmap.map(str::to_owned));
            }
            Mount { options, ..Mount::new(&resolved.target, "bind", &resolved.source.to_string_lossy(), &[]) }
        }
    }
}

/// What of a bind's source is mounted: looked up within it, and never out of it, by the runtime.
const SUBPATH: &str = "wharf.subpath=";

/// The process whose mounts a bind's source is among.
const MOUNTS_OF: &str = "wharf.mounts-of=";

/// The directories of an image's layers, topmost first.
const LAYER: &str = "lowerdir+=";

fn image_mount(resolved: &ResolvedMount, layers: &[std::path::PathBuf], idmap: Option<&str>) -> Mount {
    let mut options: Vec<String> = layers.iter().map(|l| format!("{LAYER}{}", l.display())).collect();
    options.extend(["ro", "rprivate"].into_iter().chain(idmap).map(str::to_owned));
    if !resolved.subpath.is_empty() {
        options.push(format!("{SUBPATH}{}", resolved.subpath));
    }
    Mount { options, ..Mount::new(&resolved.target, "overlay", "overlay", &[]) }
}

/// Whether the kernel makes everything below a mount read-only at once (mount_setattr(2), Linux 5.12).
pub fn can_be_read_only_below() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(12))
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
