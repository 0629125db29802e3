//! From a container's record to the OCI configuration that the runtime executes.

pub mod capabilities;
pub mod cdi;
pub mod devices;
pub mod mounts;
pub mod propagation;
pub mod seccomp;
pub mod user;

use std::collections::BTreeMap;
use user::Identity;
use wharf_model::container::{ContainerRecord, NamespaceMode, NetworkMode, SeccompSpec};
use wharf_model::idmap::IdMap;
use wharf_oci::runtime_spec::{
    Capabilities, Linux, Namespace, NamespaceKind, Process, Resources, Root, Seccomp, Spec,
};

/// Paths that read as empty in an unprivileged container; Docker's list.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that cannot be written in an unprivileged container; Docker's list.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the configuration depends on besides the record.
pub struct Surroundings<'a> {
    /// Who it runs as.
    pub identity: &'a Identity,
    /// The path of its cgroup.
    pub cgroup: &'a str,
    /// Process ids of containers whose namespaces are shared: network, IPC, PID, UTS.
    pub shared: &'a BTreeMap<&'static str, i32>,
    /// How ids are mapped for containers that do not share the host's users.
    pub remap: Option<&'a IdMap>,
    /// Directories of the layers of image mounts, topmost first, by their targets.
    pub layers: &'a BTreeMap<String, Vec<std::path::PathBuf>>,
    /// Files of the engine that are mounted over `/etc/hosts` and the like: source and destination.
    pub files: &'a [(std::path::PathBuf, &'static str)],
}

impl Surroundings<'_> {
    /// The user namespace of a container: none but the host's, a new one, or that of a process. Other namespaces belong
    /// to a user namespace: whoever shares one shares both.
    pub fn users(&self, record: &ContainerRecord) -> Option<Option<i32>> {
        if self.remap.is_none() || record.spec.host_users {
            return None;
        }
        Some(["net", "pid", "ipc"].into_iter().find_map(|kind| self.shared.get(kind).copied()))
    }
}

/// The configuration of a container.
pub fn build(record: &ContainerRecord, around: &Surroundings<'_>) -> Spec {
    let spec = &record.spec;
    let own_uts = spec.uts == NamespaceMode::Private;
    Spec {
        oci_version: "1.2.0".to_owned(),
        root: Some(Root { path: String::new(), readonly: spec.read_only }),
        mounts: mounts::build(record, around),
        process: Some(process(record, around.identity)),
        hostname: if own_uts { hostname(record) } else { String::new() },
        domainname: if own_uts { spec.domainname.clone() } else { String::new() },
        hooks: None,
        annotations: spec.annotations.clone(),
        linux: Some(linux(record, around)),
    }
}

/// The host name inside: without one of its own, the host's for who shares its network.
pub fn hostname(record: &ContainerRecord) -> String {
    let spec = &record.spec;
    if !spec.hostname.is_empty() {
        spec.hostname.clone()
    } else if spec.network == NetworkMode::Host {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        record.id.short().to_owned()
    }
}

fn process(record: &ContainerRecord, identity: &Identity) -> Process {
    let spec = &record.spec;
    let cwd = [spec.working_dir.as_str(), record.image_config.working_dir.as_str(), "/"];
    let oom = (spec.oom_score_adj != 0).then_some(spec.oom_score_adj);
    Process {
        terminal: spec.tty,
        user: identity.user.clone(),
        args: record.command(),
        env: environment(record, spec.tty),
        cwd: wharf_oci::path::clean(cwd.into_iter().find(|c| !c.is_empty()).unwrap_or("/")),
        capabilities: Some(capabilities_of(record)),
        rlimits: spec.ulimits.clone(),
        no_new_privileges: spec.no_new_privileges,
        oom_score_adj: oom,
        apparmor_profile: record.apparmor_profile.clone(),
        selinux_label: record.process_label.clone(),
        ..Process::default()
    }
}

/// What a container's processes see: defaults, the image's, the user's.
pub fn environment(record: &ContainerRecord, tty: bool) -> Vec<String> {
    let mut defaults = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={}", hostname(record))];
    if tty {
        defaults.push("TERM=xterm".to_owned());
    }
    wharf_model::container::merge_env(&defaults, &record.env())
}

/// The capability sets of the container's processes.
pub fn capabilities_of(record: &ContainerRecord) -> Capabilities {
    let spec = &record.spec;
    let names = capabilities::resolve(&spec.cap_add, &spec.cap_drop, spec.privileged);
    Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..Capabilities::default()
    }
}

/// The system call filter of the container's processes.
pub fn filter_of(record: &ContainerRecord) -> Option<Seccomp> {
    match &record.spec.seccomp {
        _ if record.spec.privileged => None,
        SeccompSpec::Unconfined => None,
        SeccompSpec::Default => Some(seccomp::default_profile(&capabilities_of(record).bounding)),
        SeccompSpec::Profile(profile) => Some(profile.as_ref().clone()),
    }
}

fn linux(record: &ContainerRecord, around: &Surroundings<'_>) -> Linux {
    let spec = &record.spec;
    let open = spec.privileged || spec.unmask_paths;
    let list = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let users = around.users(record);
    let own_users = around.remap.filter(|_| users == Some(None));
    Linux {
        namespaces: namespaces(record, around.shared, users),
        devices: if spec.privileged { devices::of_host() } else { spec.devices.clone() },
        cgroups_path: around.cgroup.to_owned(),
        resources: Some(Resources { devices: devices::rules(record), ..spec.resources.clone() }),
        sysctl: spec.sysctls.clone(),
        uid_mappings: own_users.map(|map| map.uids.clone()).unwrap_or_default(),
        gid_mappings: own_users.map(|map| map.gids.clone()).unwrap_or_default(),
        masked_paths: if open { Vec::new() } else { list(&MASKED) },
        readonly_paths: if open { Vec::new() } else { list(&READ_ONLY) },
        rootfs_propagation: mounts::root_propagation(record).to_owned(),
        mount_label: record.mount_label.clone(),
        ..Linux::default()
    }
}

fn namespaces(
    record: &ContainerRecord,
    shared: &BTreeMap<&'static str, i32>,
    users: Option<Option<i32>>,
) -> Vec<Namespace> {
    let spec = &record.spec;
    let mut list = vec![Namespace { kind: NamespaceKind::Mount, path: String::new() }];
    if let Some(joined) = users {
        let path = joined.map(|pid| format!("/proc/{pid}/ns/user")).unwrap_or_default();
        list.push(Namespace { kind: NamespaceKind::User, path });
    }
    let mut add = |kind, file: &'static str, host: bool| {
        if !host {
            let path = shared.get(file).map(|pid| format!("/proc/{pid}/ns/{file}")).unwrap_or_default();
            list.push(Namespace { kind, path });
        }
    };
    let is_host = |mode: &NamespaceMode| *mode == NamespaceMode::Host;
    add(NamespaceKind::Network, "net", matches!(spec.network, NetworkMode::Host));
    add(NamespaceKind::Ipc, "ipc", is_host(&spec.ipc));
    add(NamespaceKind::Pid, "pid", is_host(&spec.pid));
    add(NamespaceKind::Uts, "uts", is_host(&spec.uts));
    add(NamespaceKind::Cgroup, "cgroup", is_host(&spec.cgroup));
    list
}
