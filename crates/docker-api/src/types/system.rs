//! `/version`, `/info`, `/system/df`, `/events`, `/auth`.

use super::{Map, is_default};

wire! { "PascalCase":
    pub struct Version {
        pub platform: Platform,
        pub components: Vec<Component>,
        pub version: String,
        pub api_version: String,
        #[serde(rename = "MinAPIVersion")]
        pub min_api_version: String,
        pub git_commit: String,
        pub go_version: String,
        pub os: String,
        pub arch: String,
        pub kernel_version: String,
        #[serde(skip_serializing_if = "is_default")]
        pub experimental: bool,
        pub build_time: String,
    }

    pub struct Platform {
        pub name: String,
    }

    pub struct Component {
        pub name: String,
        pub version: String,
        pub details: Option<Map<String>>,
    }

    /// `GET /info`.
    pub struct Info {
        #[serde(rename = "ID")]
        pub id: String,
        pub containers: i64,
        pub containers_running: i64,
        pub containers_paused: i64,
        pub containers_stopped: i64,
        pub images: i64,
        pub driver: String,
        pub driver_status: Vec<[String; 2]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub system_status: Option<Vec<[String; 2]>>,
        pub plugins: Plugins,
        pub memory_limit: bool,
        pub swap_limit: bool,
        pub cpu_cfs_period: bool,
        pub cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        pub pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        pub debug: bool,
        pub n_fd: i64,
        pub oom_kill_disable: bool,
        pub n_goroutines: i64,
        pub system_time: String,
        pub logging_driver: String,
        pub cgroup_driver: String,
        #[serde(skip_serializing_if = "is_default")]
        pub cgroup_version: String,
        pub n_events_listener: i64,
        pub kernel_version: String,
        pub operating_system: String,
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        #[serde(rename = "OSType")]
        pub os_type: String,
        pub architecture: String,
        pub index_server_address: String,
        pub registry_config: Option<RegistryConfig>,
        #[serde(rename = "NCPU")]
        pub ncpu: i64,
        /// Bytes.
        pub mem_total: i64,
        pub generic_resources: Option<Vec<serde_json::Value>>,
        pub docker_root_dir: String,
        pub http_proxy: String,
        pub https_proxy: String,
        pub no_proxy: String,
        pub name: String,
        pub labels: Option<Vec<String>>,
        pub experimental_build: bool,
        pub server_version: String,
        pub runtimes: Map<Runtime>,
        pub default_runtime: String,
        pub swarm: Swarm,
        pub live_restore_enabled: bool,
        pub isolation: String,
        pub init_binary: String,
        pub containerd_commit: Commit,
        pub runc_commit: Commit,
        pub init_commit: Commit,
        pub security_options: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub product_license: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub default_address_pools: Option<Vec<AddressPool>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub firewall_backend: Option<FirewallInfo>,
        #[serde(rename = "CDISpecDirs")]
        pub cdi_spec_dirs: Vec<String>,
        /// Devices by name, from 1.50 on.
        #[serde(skip_serializing_if = "is_default")]
        pub discovered_devices: Vec<DiscoveredDevice>,
        pub warnings: Option<Vec<String>>,
        /// Beyond Docker's API.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub garbage_collection: Option<GarbageCollection>,
    }

    /// A device that a container can be given by its name.
    pub struct DiscoveredDevice {
        /// `cdi`.
        pub source: String,
        #[serde(rename = "ID")]
        pub id: String,
    }

    /// What is removed by itself.
    pub struct GarbageCollection {
        pub enabled: bool,
        pub interval: String,
        /// In words.
        pub rules: Vec<String>,
        /// Patterns of names, and labels.
        pub keep: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub last_run: String,
        /// Bytes.
        pub last_reclaimed: u64,
    }

    /// `POST /system/gc`.
    pub struct GcResponse {
        pub containers_deleted: Vec<String>,
        pub images_deleted: Vec<super::image::DeleteResponse>,
        pub volumes_deleted: Vec<String>,
        pub space_reclaimed: u64,
    }

    pub struct Plugins {
        pub volume: Option<Vec<String>>,
        pub network: Option<Vec<String>>,
        pub authorization: Option<Vec<String>>,
        pub log: Option<Vec<String>>,
    }

    pub struct RegistryConfig {
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Option<Vec<String>>,
        pub index_configs: Map<IndexConfig>,
        pub mirrors: Option<Vec<String>>,
    }

    pub struct IndexConfig {
        pub name: String,
        pub mirrors: Vec<String>,
        pub secure: bool,
        pub official: bool,
    }

    pub struct Runtime {
        #[serde(rename = "path", skip_serializing_if = "is_default")]
        pub path: String,
        #[serde(rename = "runtimeArgs", skip_serializing_if = "Option::is_none")]
        pub runtime_args: Option<Vec<String>>,
        #[serde(rename = "status", skip_serializing_if = "Option::is_none")]
        pub status: Option<Map<String>>,
    }

    pub struct Swarm {
        #[serde(rename = "NodeID")]
        pub node_id: String,
        pub node_addr: String,
        pub local_node_state: String,
        pub control_available: bool,
        pub error: String,
        pub remote_managers: Option<Vec<serde_json::Value>>,
    }

    pub struct Commit {
        #[serde(rename = "ID")]
        pub id: String,
    }

    pub struct AddressPool {
        pub base: String,
        pub size: i64,
    }

    pub struct FirewallInfo {
        pub driver: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub info: Option<Vec<[String; 2]>>,
    }

    /// `GET /system/df`.
    pub struct DiskUsage {
        pub layers_size: i64,
        pub images: Option<Vec<super::image::Summary>>,
        pub containers: Option<Vec<super::container::Summary>>,
        pub volumes: Option<Vec<super::volume::Volume>>,
        pub build_cache: Option<Vec<BuildCache>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub builder_size: Option<i64>,
    }

    pub struct BuildCache {
        #[serde(rename = "ID")]
        pub id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub parents: Option<Vec<String>>,
        #[serde(rename = "Type")]
        pub kind: String,
        pub description: String,
        pub in_use: bool,
        pub shared: bool,
        pub size: i64,
        pub created_at: String,
        pub last_used_at: Option<String>,
        pub usage_count: i64,
    }

    /// `POST /build/prune`.
    pub struct BuildPruneResponse {
        pub caches_deleted: Option<Vec<String>>,
        pub space_reclaimed: u64,
    }

    /// One of `GET /events`.
    pub struct Event {
        #[serde(rename = "status", skip_serializing_if = "is_default")]
        pub status: String,
        #[serde(rename = "id", skip_serializing_if = "is_default")]
        pub id: String,
        #[serde(rename = "from", skip_serializing_if = "is_default")]
        pub from: String,
        #[serde(rename = "Type")]
        pub kind: String,
        pub action: String,
        pub actor: Actor,
        #[serde(rename = "scope", skip_serializing_if = "is_default")]
        pub scope: String,
        #[serde(rename = "time")]
        pub time: i64,
        #[serde(rename = "timeNano")]
        pub time_nano: i64,
    }

    pub struct Actor {
        #[serde(rename = "ID")]
        pub id: String,
        pub attributes: Map<String>,
    }

    /// Credentials: body of `POST /auth`, and base64 of it in `X-Registry-Auth`.
    pub struct AuthConfig {
        #[serde(rename = "username", skip_serializing_if = "is_default")]
        pub username: String,
        #[serde(rename = "password", skip_serializing_if = "is_default")]
        pub password: String,
        #[serde(rename = "auth", skip_serializing_if = "is_default")]
        pub auth: String,
        #[serde(rename = "email", skip_serializing_if = "is_default")]
        pub email: String,
        #[serde(rename = "serveraddress", skip_serializing_if = "is_default")]
        pub server_address: String,
        #[serde(rename = "identitytoken", skip_serializing_if = "is_default")]
        pub identity_token: String,
        #[serde(rename = "registrytoken", skip_serializing_if = "is_default")]
        pub registry_token: String,
    }

    pub struct AuthResponse {
        pub status: String,
        #[serde(skip_serializing_if = "is_default")]
        pub identity_token: String,
    }
}
