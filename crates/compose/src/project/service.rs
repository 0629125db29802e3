//! `services`.

use super::attributes::attributes;
use super::build::Build;
use super::deploy::{Deploy, DeviceRequest};
use super::scalars::{Blank, Bytes, Duration, FileMode, Hosts, Map, OptOut, Shown, Words};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

attributes! {
    /// A service.
    pub struct Service {
        profiles: Vec<String>,
        annotations: Map<String>,
        attach: Option<bool>,
        build: Option<Build>,
        develop: Option<Develop>,
        blkio_config: Option<BlkioConfig>,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        cgroup_parent: String,
        cgroup: String,
        cpu_count: i64,
        cpu_percent: f32,
        cpu_period: i64,
        cpu_quota: i64,
        cpu_rt_period: i64,
        cpu_rt_runtime: i64,
        cpus: f32,
        cpuset: String,
        cpu_shares: i64,
        command: Words,
        configs: Vec<FileReference>,
        container_name: String,
        credential_spec: Option<CredentialSpec>,
        depends_on: Map<Dependency>,
        deploy: Option<Deploy>,
        device_cgroup_rules: Vec<String>,
        devices: Vec<Device>,
        dns: Vec<String>,
        dns_opt: Vec<String>,
        dns_search: Vec<String>,
        domainname: String,
        entrypoint: Words,
        provider: Option<Provider>,
        environment: Map<Option<String>>,
        env_file: Vec<EnvFile>,
        expose: Vec<String>,
        external_links: Vec<String>,
        extra_hosts: Hosts,
        group_add: Vec<String>,
        gpus: Vec<DeviceRequest>,
        hostname: String,
        healthcheck: Option<HealthCheck>,
        image: String,
        init: Option<bool>,
        ipc: String,
        isolation: String,
        labels: Map<String>,
        label_file: Vec<String>,
        links: Vec<String>,
        logging: Option<Logging>,
        mem_limit: Bytes,
        mem_reservation: Bytes,
        memswap_limit: Bytes,
        mem_swappiness: Bytes,
        mac_address: String,
        models: Map<Option<ServiceModel>>,
        network_mode: String,
        networks: Map<Option<ServiceNetwork>>,
        oom_kill_disable: bool,
        oom_score_adj: i64,
        pid: String,
        pids_limit: i64,
        platform: String,
        ports: Vec<Port>,
        privileged: bool,
        pull_policy: String,
        read_only: bool,
        restart: String,
        runtime: String,
        scale: Option<i64>,
        secrets: Vec<FileReference>,
        security_opt: Vec<String>,
        shm_size: Bytes,
        stdin_open: bool,
        stop_grace_period: Option<Duration>,
        stop_signal: String,
        storage_opt: Map<String>,
        sysctls: Map<String>,
        tmpfs: Vec<String>,
        tty: bool,
        ulimits: Map<Ulimit>,
        use_api_socket: bool,
        user: String,
        userns_mode: String,
        uts: String,
        volumes: Vec<ServiceVolume>,
        volumes_from: Vec<String>,
        working_dir: String,
        post_start: Vec<Hook>,
        pre_stop: Vec<Hook>,
        /// In a file alone, before it is worked out.
        extends: Option<Extends>,
        /// Docker's tool neither prints nor hashes it.
        #[serde(skip_serializing)]
        pull_refresh_after: String,
    }

    /// What a service begins as.
    pub struct Extends {
        file: String,
        service: String,
    }

    /// A program of its own that makes the service.
    pub struct Provider {
        #[serde(rename = "type")]
        kind: String,
        options: Map<Vec<String>>,
    }

    /// A model that a service uses.
    pub struct ServiceModel {
        endpoint_var: String,
        model_var: String,
    }

    /// Block I/O.
    pub struct BlkioConfig {
        weight: u16,
        weight_device: Vec<WeightDevice>,
        device_read_bps: Vec<ThrottleDevice>,
        device_read_iops: Vec<ThrottleDevice>,
        device_write_bps: Vec<ThrottleDevice>,
        device_write_iops: Vec<ThrottleDevice>,
    }

    /// Credentials of Windows; refused by engines of Linux.
    pub struct CredentialSpec {
        config: String,
        file: String,
        registry: String,
    }

    /// What must be before the service is.
    pub struct Dependency {
        condition: String,
        restart: bool,
        required: Shown,
    }

    /// A device of the host, or one by name (CDI).
    pub struct Device {
        source: String,
        target: String,
        permissions: String,
    }

    /// How health is found out.
    pub struct HealthCheck {
        test: Vec<String>,
        timeout: Option<Duration>,
        interval: Option<Duration>,
        retries: Option<u64>,
        start_period: Option<Duration>,
        start_interval: Option<Duration>,
        disable: bool,
    }

    /// Where the log goes.
    pub struct Logging {
        driver: String,
        options: Map<Option<String>>,
    }

    /// A service's place in a network.
    pub struct ServiceNetwork {
        aliases: Vec<String>,
        driver_opts: Map<String>,
        gw_priority: i64,
        interface_name: String,
        ipv4_address: String,
        ipv6_address: String,
        link_local_ips: Vec<String>,
        mac_address: String,
        priority: i64,
    }

    /// A published port.
    pub struct Port {
        name: String,
        mode: String,
        host_ip: String,
        target: u32,
        published: String,
        protocol: String,
        app_protocol: String,
    }

    /// A mount.
    pub struct ServiceVolume {
        #[serde(rename = "type")]
        kind: String,
        source: String,
        target: String,
        read_only: bool,
        consistency: String,
        bind: Option<BindOptions>,
        volume: Option<VolumeOptions>,
        tmpfs: Option<TmpfsOptions>,
        image: Option<ImageOptions>,
    }

    /// Of a bind mount.
    pub struct BindOptions {
        selinux: String,
        propagation: String,
        create_host_path: bool,
        recursive: String,
    }

    /// Of a volume.
    pub struct VolumeOptions {
        labels: Map<String>,
        nocopy: bool,
        subpath: String,
    }

    /// Of a tmpfs.
    pub struct TmpfsOptions {
        size: Bytes,
        mode: u32,
    }

    /// Of an image.
    pub struct ImageOptions {
        subpath: String,
    }

    /// A secret or config in a container.
    pub struct FileReference {
        source: String,
        target: String,
        uid: String,
        gid: String,
        mode: Option<FileMode>,
    }

    /// A command after the start or before the stop.
    pub struct Hook {
        command: Words,
        user: String,
        privileged: bool,
        working_dir: String,
        environment: Map<Option<String>>,
    }

    /// What `watch` does.
    pub struct Develop {
        watch: Vec<Trigger>,
    }

    /// What to do when files change.
    pub struct Trigger {
        path: String,
        action: String,
        target: String,
        exec: TriggerExec,
        include: Vec<String>,
        ignore: Vec<String>,
        initial_sync: bool,
    }
}

/// A hook that is written even where there is none, as Docker writes it.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TriggerExec(pub Hook);

impl Blank for TriggerExec {
    fn is_blank(&self) -> bool {
        false
    }
}

/// A file of variables; one that is as usual is written as its path.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub struct EnvFile {
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub required: OptOut,
    #[serde(default)]
    pub format: String,
    #[serde(default, rename = "#x")]
    pub extensions: super::Extensions,
}

impl Serialize for EnvFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        // Docker leaves out the format, in what it prints and what it hashes.
        if self.required.0 {
            return serializer.serialize_str(&self.path);
        }
        let mut whole = serializer.serialize_struct("EnvFile", 2)?;
        whole.serialize_field("path", &self.path)?;
        whole.serialize_field("required", &false)?;
        whole.end()
    }
}

/// A device with its weight; Docker's JSON has these names with capitals.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WeightDevice {
    #[serde(default, rename(serialize = "Path"))]
    pub path: String,
    #[serde(default, rename(serialize = "Weight"))]
    pub weight: u16,
}

/// A device with its rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ThrottleDevice {
    #[serde(default, rename(serialize = "Path"))]
    pub path: String,
    #[serde(default, rename(serialize = "Rate"))]
    pub rate: Bytes,
}

/// One limit, or a soft and a hard one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ulimit {
    pub single: i64,
    pub soft: i64,
    pub hard: i64,
}

#[derive(Serialize, Deserialize, Default)]
struct Both {
    #[serde(default, skip_serializing_if = "Blank::is_blank")]
    soft: i64,
    #[serde(default, skip_serializing_if = "Blank::is_blank")]
    hard: i64,
    #[serde(default, rename = "#x", skip_serializing_if = "Blank::is_blank")]
    extensions: super::Extensions,
}

impl<'de> Deserialize<'de> for Ulimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrTwo;
        impl<'de> serde::de::Visitor<'de> for OneOrTwo {
            type Value = Ulimit;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number or a mapping of soft and hard")
            }
            fn visit_i64<E>(self, single: i64) -> Result<Ulimit, E> {
                Ok(Ulimit { single, ..Ulimit::default() })
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ulimit, E> {
                let single = text.parse().map_err(|_| E::custom(format!("invalid limit {text:?}")))?;
                Ok(Ulimit { single, ..Ulimit::default() })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ulimit, A::Error> {
                let mut limit = Ulimit::default();
                let mut missing = vec!["soft", "hard"];
                while let Some(key) = map.next_key::<String>()? {
                    missing.retain(|side| *side != key);
                    match key.as_str() {
                        "soft" => limit.soft = map.next_value()?,
                        "hard" => limit.hard = map.next_value()?,
                        key if key.starts_with("x-") => drop(map.next_value::<super::tree::Tree>()?),
                        _ => {
                            let message =
                                format!("additional properties '{key}' not allowed: there are soft and hard");
                            return Err(serde::de::Error::custom(message));
                        }
                    }
                }
                match missing.first() {
                    Some(side) => Err(serde::de::Error::custom(format!(
                        "must be an integer, or have both soft and hard: {side} is missing"
                    ))),
                    None => Ok(limit),
                }
            }
        }
        deserializer.deserialize_any(OneOrTwo)
    }
}

impl Serialize for Ulimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.single != 0 {
            return serializer.serialize_i64(self.single);
        }
        Both { soft: self.soft, hard: self.hard, ..Both::default() }.serialize(serializer)
    }
}

impl Service {
    /// How many containers it has.
    pub fn replicas(&self) -> i64 {
        self.scale.or_else(|| self.deploy.as_ref()?.replicas).unwrap_or(1)
    }

    /// The names of its networks, the first in priority first.
    pub fn networks_by_priority(&self) -> Vec<&str> {
        let mut names: Vec<(i64, &str)> = self
            .networks
            .iter()
            .map(|(name, network)| (-network.as_ref().map_or(0, |network| network.priority), name.as_str()))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }
}
