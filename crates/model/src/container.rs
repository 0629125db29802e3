//! What a container shall be: the specification, as parsed at the edge and kept in its record.

use crate::health::{self, Check, Health, OnUnhealthy};
pub use crate::logging::LogSpec;
use crate::network::Endpoint;
use crate::ports::{ContainerPort, PortMapping, PublishedPort};
use crate::security::{LabelOption, Relabel};
use crate::state::Status;
use crate::{ContainerId, Error};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use wharf_oci::digest::Digest;
use wharf_oci::image_config::Healthcheck;
use wharf_oci::runtime_spec::{Device, DeviceRule, Resources, Rlimit, Seccomp};

/// A container's specification. What the user left open is filled in from the image when it is created.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image as the user named it.
    pub image: String,
    /// Program with its first arguments; `None` is the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments; `None` is the image's, unless the entrypoint is given.
    pub command: Option<Vec<String>>,
    /// `NAME=value`; a later one wins; a name alone removes it.
    pub env: Vec<String>,
    /// Working directory; empty is the image's.
    pub working_dir: String,
    /// `user[:group]`; empty is the image's.
    pub user: String,
    /// Further groups by name or number.
    pub groups: Vec<String>,
    /// Labels, the image's included once created.
    pub labels: BTreeMap<String, String>,
    /// Empty is the short id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Gets a terminal.
    pub tty: bool,
    /// stdin stays open for clients.
    pub open_stdin: bool,
    /// stdin ends with the first client.
    pub stdin_once: bool,
    /// Signal that asks it to stop; empty is the image's, else TERM.
    pub stop_signal: String,
    /// Seconds between that signal and SIGKILL; `None` is 10.
    pub stop_timeout: Option<i64>,
    /// Bind mounts, volumes, tmpfs.
    pub mounts: Vec<MountSpec>,
    /// Containers whose volumes and binds it has too.
    pub volumes_from: Vec<VolumesFrom>,
    /// How it is connected.
    pub network: NetworkMode,
    /// What it asks of each network by name; the network of `network` when it has no entry.
    pub endpoints: BTreeMap<String, EndpointSpec>,
    /// Networks it was taken out of, by name; the network of `network` may be among them.
    pub left: BTreeSet<String>,
    /// Containers of the default bridge that it knows by further names.
    pub links: Vec<Link>,
    /// Ports that are documented.
    pub exposed: Vec<ContainerPort>,
    /// Ports that are published.
    pub ports: Vec<PortMapping>,
    /// Publishes all documented ports on ports of the engine's choice.
    pub publish_all: bool,
    /// Name servers in place of the network's.
    pub dns: Vec<String>,
    /// Search domains in place of the host's.
    pub dns_search: Vec<String>,
    /// Options in place of the host's.
    pub dns_options: Vec<String>,
    /// `name:address` lines of `/etc/hosts`; `host-gateway` is the host.
    pub extra_hosts: Vec<String>,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// It is removed when it ends.
    pub auto_remove: bool,
    /// Limits.
    pub resources: Resources,
    /// Resource limits of its processes.
    pub ulimits: Vec<Rlimit>,
    /// Capabilities beyond the default, `ALL` for all.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, `ALL` for all.
    pub cap_drop: Vec<String>,
    /// All rights, all devices, no filter.
    pub privileged: bool,
    /// System call filter.
    pub seccomp: SeccompSpec,
    /// AppArmor profile; empty is the engine's default.
    pub apparmor: String,
    /// What its SELinux labels shall be.
    pub label_options: Vec<LabelOption>,
    /// No privileges by executing programs.
    pub no_new_privileges: bool,
    /// Nothing is masked or read-only below /proc and /sys.
    pub unmask_paths: bool,
    /// The root is read-only.
    pub read_only: bool,
    /// A minimal init is process 1.
    pub init: bool,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Devices by name, as the host's CDI specifications describe them.
    pub device_names: Vec<String>,
    /// Its cgroup can be written to.
    pub writable_cgroups: bool,
    /// Access to devices beyond.
    pub device_rules: Vec<DeviceRule>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`; 0 is 64 MiB.
    pub shm_size: i64,
    /// The IPC namespace.
    pub ipc: NamespaceMode,
    /// What `/dev/shm` is.
    pub shm: Shm,
    /// The PID namespace.
    pub pid: NamespaceMode,
    /// The UTS namespace.
    pub uts: NamespaceMode,
    /// The cgroup namespace.
    pub cgroup: NamespaceMode,
    /// Users are the host's even when the engine maps ids.
    pub host_users: bool,
    /// Path below which its cgroup is made; empty is the engine's.
    pub cgroup_parent: String,
    /// OOM score adjustment.
    pub oom_score_adj: i32,
    /// Where output goes.
    pub log: LogSpec,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// How it is seen whether it is well; what is left open is the image's.
    pub health: Option<Healthcheck>,
    /// What happens when it is not.
    pub on_unhealthy: OnUnhealthy,
    /// What the edge was asked for, kept to be shown again; the engine does not look inside.
    pub origin: serde_json::Value,
}

/// Another container by a further name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name or id.
    pub container: String,
    /// The further name.
    pub alias: String,
}

impl std::str::FromStr for Link {
    type Err = Error;

    /// `container:alias`, or `container` for its own name. Slashes before names are Docker's and mean nothing.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid(format!("bad format for links: {text}"));
        let (container, alias) = text.split_once(':').unwrap_or((text, text));
        let container = container.strip_prefix('/').unwrap_or(container);
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        if container.is_empty() || alias.is_empty() || alias.contains([':', ' ', '\t', '\n']) {
            return Err(invalid());
        }
        Ok(Self { container: container.to_owned(), alias: alias.to_owned() })
    }
}

/// A container whose volumes and binds another has too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Its name or id.
    pub container: String,
    /// They cannot be written through.
    pub read_only: bool,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// What is mounted.
    pub source: MountSource,
    /// Where, absolute, in the container.
    pub target: String,
    /// Cannot be written through.
    pub read_only: bool,
    /// Whose SELinux label its files get.
    #[serde(default, skip_serializing_if = "Relabel::is_no")]
    pub relabel: Relabel,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: PathBuf,
        /// `rprivate`, `rslave` and so on; empty is `rprivate`.
        propagation: String,
        /// Made as a directory when it is not there (`-v`, not `--mount`).
        create: bool,
        /// Without what is mounted below.
        non_recursive: bool,
        /// How far a read-only one goes.
        #[serde(default)]
        read_only: Depth,
    },
    /// A volume.
    Volume {
        /// Its name; empty makes an anonymous one.
        name: String,
        /// The image's content is not copied into an empty one.
        no_copy: bool,
        /// A directory within it.
        subpath: String,
        /// Labels of a volume that is made.
        labels: BTreeMap<String, String>,
    },
    /// The files of an image, read-only.
    Image {
        /// The image as the user named it.
        name: String,
        /// A path within it.
        subpath: String,
    },
    /// Memory.
    Tmpfs {
        /// Options of the file system, such as `size=64m`.
        options: Vec<String>,
    },
}

/// How far a read-only bind goes into what is mounted below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// All the way where the kernel can (5.12).
    #[default]
    AllIfPossible,
    /// All the way, or not at all.
    All,
    /// What is mounted below can be written to.
    Alone,
}

/// What `/dev/shm` of a container is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shm {
    /// Its own alone.
    #[default]
    Private,
    /// Its own, and of those that share its IPC namespace.
    Shareable,
    /// None.
    None,
}

/// How a container is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", content = "of")]
pub enum NetworkMode {
    /// The engine's own bridge.
    #[default]
    Bridge,
    /// The host's own network.
    Host,
    /// Loopback alone.
    None,
    /// Another container's network, by its name or id.
    Container(String),
    /// A network by its name or id.
    Named(String),
}

impl NetworkMode {
    /// The mode that Docker's word for it means: `bridge`, `host`, `none`, `container:` and a container, or a network.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "" | "default" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            other => match other.strip_prefix("container:") {
                Some(name) => Self::Container(name.to_owned()),
                None => Self::Named(other.to_owned()),
            },
        }
    }
}

/// What a container asks of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// Further names.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed address.
    pub ipv6: Option<Ipv6Addr>,
    /// A fixed MAC address.
    pub mac: Option<[u8; 6]>,
    /// The network with the highest leads out.
    pub gw_priority: i64,
    /// Names by which it alone knows containers of the network.
    pub links: Vec<Link>,
    /// Addresses beyond the network's subnets, for the interface.
    pub link_local: Vec<IpAddr>,
    /// Options of the driver, as given.
    pub driver_options: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// The networks it joins, as they were named.
    pub fn network_names(&self) -> BTreeSet<String> {
        let first = match &self.network {
            NetworkMode::Bridge => Some("bridge".to_owned()),
            NetworkMode::Named(name) => Some(name.clone()),
            NetworkMode::None if self.left.contains("none") => None,
            NetworkMode::Host | NetworkMode::None | NetworkMode::Container(_) => return BTreeSet::new(),
        };
        let all = self.endpoints.keys().filter(|n| *n != "default").cloned().chain(first);
        all.filter(|name| !self.left.contains(name)).collect()
    }

    /// The name servers it is to use, as far as the engine can ask them for it: loopback is another one inside.
    pub fn name_servers(&self) -> Vec<IpAddr> {
        let servers: Option<Vec<IpAddr>> = self.dns.iter().map(|server| server.parse().ok()).collect();
        servers.filter(|servers| !servers.iter().any(IpAddr::is_loopback)).unwrap_or_default()
    }
}

/// A namespace of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", content = "of")]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's, by its name or id.
    Container(String),
}

/// The system call filter of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompSpec {
    /// The engine's.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The user's.
    Profile(Box<Seccomp>),
}

/// What happens when a container ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It is started again, always.
    Always,
    /// As always, but not after somebody stopped it and the engine was restarted.
    UnlessStopped,
    /// It is started again after a failure, this many times at most; 0 is no limit.
    OnFailure(u32),
}

/// How a container is and was. Everything here outlives the engine's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without a slash.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created_ns: i128,
    /// What it shall be.
    pub spec: ContainerSpec,
    /// The image it was made from.
    pub image: Digest,
    /// The image's own configuration of a container.
    pub image_config: wharf_oci::image_config::Config,
    /// Where it is in its life.
    pub status: Status,
    /// Process id on the host; 0 without a process.
    pub pid: i32,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// Why the last start failed.
    pub error: String,
    /// The kernel killed a process of the last run for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch; 0 when it never was.
    pub started_ns: i128,
    /// Nanoseconds since the epoch; 0 when it never was.
    pub finished_ns: i128,
    /// How often its restart policy started it.
    pub restart_count: u32,
    /// Somebody stopped it, so that `unless-stopped` does not start it again.
    pub stopped_by_user: bool,
    /// Its places in networks, while it runs.
    pub endpoints: Vec<(String, Endpoint)>,
    /// Its published ports, while it runs.
    pub published: Vec<PublishedPort>,
    /// Its volumes and binds, resolved.
    pub mounts: Vec<ResolvedMount>,
    /// What its checks say, since the last start.
    pub health: Option<Health>,
    /// Its creation has not come to its end: after a crash it is undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// Its removal, once begun, takes its anonymous volumes along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_volumes: bool,
    /// Its AppArmor profile as of the last start, before that as asked for; empty without AppArmor.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub apparmor_profile: String,
    /// SELinux label of its processes; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub process_label: String,
    /// SELinux label of its files; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
}

impl ContainerRecord {
    /// A container whose creation begins: it has never run and has no mounts yet.
    pub fn new(
        id: ContainerId,
        name: String,
        created_ns: i128,
        spec: ContainerSpec,
        image: Digest,
        image_config: wharf_oci::image_config::Config,
    ) -> Self {
        Self {
            apparmor_profile: spec.apparmor.clone(),
            process_label: String::new(),
            mount_label: String::new(),
            id,
            name,
            created_ns,
            spec,
            image,
            image_config,
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_ns: 0,
            finished_ns: 0,
            restart_count: 0,
            stopped_by_user: false,
            endpoints: Vec::new(),
            published: Vec::new(),
            mounts: Vec::new(),
            health: None,
            unfinished: true,
            takes_volumes: false,
        }
    }
}

/// A mount with its source found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedMount {
    /// `bind`, `volume`, `image` or `tmpfs`.
    pub kind: String,
    /// The volume's name, else empty.
    pub name: String,
    /// Path on the host; empty for tmpfs.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// Can be written.
    pub read_write: bool,
    /// Propagation, or options of a tmpfs.
    pub options: Vec<String>,
    /// What of the source is mounted, if not all: a path that is looked up within it when it is mounted.
    #[serde(default)]
    pub subpath: String,
    /// The image that an image mount shows.
    #[serde(default)]
    pub image: Option<Digest>,
    /// The volume shows a directory of the host, whose owners a user namespace does not have.
    #[serde(default)]
    pub of_host: bool,
    /// The engine made it without a name: it goes with `rm -v` and `--rm`.
    pub anonymous: bool,
    /// Whose SELinux label its files get.
    #[serde(default, skip_serializing_if = "Relabel::is_no")]
    pub relabel: Relabel,
}

impl ContainerRecord {
    /// The program with all its arguments.
    pub fn command(&self) -> Vec<String> {
        let image = &self.image_config;
        let entrypoint = self.spec.entrypoint.as_ref().or(image.entrypoint.as_ref());
        let command = match (&self.spec.command, &self.spec.entrypoint) {
            (Some(command), _) => Some(command),
            // An own entrypoint does not take the image's arguments.
            (None, Some(_)) => None,
            (None, None) => image.cmd.as_ref(),
        };
        // An entrypoint of one empty word is how the command line clears the image's.
        let entrypoint = entrypoint.filter(|e| e.len() != 1 || !e[0].is_empty());
        entrypoint.into_iter().chain(command).flatten().cloned().collect()
    }

    /// How it is seen whether it is well, as asked for and in the image.
    pub fn healthcheck(&self) -> Option<Healthcheck> {
        health::merge(self.spec.health.as_ref(), self.image_config.healthcheck.as_ref())
    }

    /// Its check, if it has one.
    pub fn check(&self) -> Option<Check> {
        Check::of(&self.healthcheck()?, &self.image_config)
    }

    /// The signal that asks it to stop.
    pub fn stop_signal(&self) -> &str {
        let own = Some(self.spec.stop_signal.as_str()).filter(|s| !s.is_empty());
        own.or(self.image_config.stop_signal.as_deref()).unwrap_or("SIGTERM")
    }

    /// `user[:group]` that it runs as; empty is root.
    pub fn user(&self) -> &str {
        if self.spec.user.is_empty() { &self.image_config.user } else { &self.spec.user }
    }

    /// The configuration that an image made of this container gets: the image's, with what was asked for over it.
    pub fn image_config(&self) -> wharf_oci::image_config::Config {
        let (image, spec) = (&self.image_config, &self.spec);
        let mut config = image.clone();
        config.user = self.user().to_owned();
        config.env = self.env();
        config.labels = spec.labels.clone();
        config.stop_signal = Some(self.stop_signal().to_owned())
            .filter(|_| !spec.stop_signal.is_empty())
            .or(config.stop_signal);
        config.stop_timeout = spec.stop_timeout;
        config.healthcheck = self.healthcheck();
        config.exposed_ports.extend(spec.exposed.iter().map(ToString::to_string));
        if !spec.working_dir.is_empty() {
            config.working_dir.clone_from(&spec.working_dir);
        }
        if spec.entrypoint.is_some() {
            config.entrypoint.clone_from(&spec.entrypoint);
            config.cmd = None;
        }
        if spec.command.is_some() {
            config.cmd.clone_from(&spec.command);
        }
        config
    }

    /// The environment: the image's, then the user's over it.
    pub fn env(&self) -> Vec<String> {
        merge_env(&self.image_config.env, &self.spec.env)
    }
}

/// `later` over `earlier`; a name without `=` removes the variable.
pub fn merge_env(earlier: &[String], later: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    for entry in earlier.iter().chain(later) {
        let name = entry.split('=').next().unwrap_or(entry);
        let place = merged.iter().position(|e| e.split('=').next() == Some(name));
        match (place, entry.contains('=')) {
            (Some(place), true) => merged[place].clone_from(entry),
            (None, true) => merged.push(entry.clone()),
            (Some(place), false) => drop(merged.remove(place)),
            (None, false) => {}
        }
    }
    merged
}

/// Whether a path is the root's, by its text.
pub fn is_root(path: &str) -> bool {
    let mut depth = 0u32;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    depth == 0
}

/// Checks what can be checked without the engine's state.
pub fn validate(spec: &ContainerSpec) -> Result<(), Error> {
    for mount in &spec.mounts {
        if !mount.target.starts_with('/') {
            return Err(Error::invalid(format!(
                "invalid mount path: '{}' mount path must be absolute",
                mount.target
            )));
        }
        if is_root(&mount.target) {
            return Err(Error::invalid("invalid specification: destination can't be '/'"));
        }
    }
    if spec.auto_remove && spec.restart != RestartPolicy::No {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    if matches!(spec.network, NetworkMode::Container(_)) {
        no_network_of_its_own(spec)?;
    }
    Ok(())
}

/// Who shares another container's network has its name, its files and its ports.
fn no_network_of_its_own(spec: &ContainerSpec) -> Result<(), Error> {
    let wishes = [
        (!spec.hostname.is_empty(), "hostname and the network mode"),
        (!spec.dns.is_empty(), "dns and the network mode"),
        (!spec.extra_hosts.is_empty(), "custom host-to-IP mapping and the network mode"),
        (!spec.ports.is_empty() || spec.publish_all, "port publishing and the container type network mode"),
        (!spec.exposed.is_empty(), "port exposing and the container type network mode"),
    ];
    match wishes.into_iter().find(|(wished, _)| *wished) {
        Some((_, what)) => Err(Error::invalid(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_merge() {
        let list = |l: &[&str]| l.iter().map(ToString::to_string).collect::<Vec<_>>();
        let merged = merge_env(&list(&["A=1", "B=2"]), &list(&["B=3", "C=4", "A"]));
        assert_eq!(merged, ["B=3", "C=4"]);
    }

    #[test]
    fn who_shares_a_network_has_none() {
        let sharing =
            ContainerSpec { network: NetworkMode::Container("c1".into()), ..ContainerSpec::default() };
        assert!(validate(&sharing).is_ok());
        for refused in [
            ContainerSpec { hostname: "x".into(), ..sharing.clone() },
            ContainerSpec { dns: vec!["192.0.2.1".into()], ..sharing.clone() },
            ContainerSpec { extra_hosts: vec!["a:192.0.2.1".into()], ..sharing.clone() },
            ContainerSpec { publish_all: true, ..sharing },
        ] {
            assert!(validate(&refused).unwrap_err().to_string().starts_with("conflicting options: "));
        }
    }

    #[test]
    fn targets_must_be_absolute() {
        let mount = |target: &str| MountSpec {
            source: MountSource::Tmpfs { options: Vec::new() },
            target: target.to_owned(),
            read_only: false,
            relabel: Relabel::No,
        };
        let check =
            |target| validate(&ContainerSpec { mounts: vec![mount(target)], ..ContainerSpec::default() });
        assert!(check("/data").is_ok());
        assert!(check("data").is_err());
        assert!(check("/").is_err());
    }
}
