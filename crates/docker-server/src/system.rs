//! `/_ping`, `/version`, `/info`, and what there is not.

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::version::{API_VERSION, MIN_API_VERSION};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use wharf_distribution::client::{Proxy, Settings};
use wharf_docker_api::types::system::{
    Component, DiscoveredDevice, IndexConfig, Info, Platform, Plugins, RegistryConfig, Runtime, Version,
};
use wharf_engine::clock::{now_ns, rfc3339};
use wharf_engine::containers::spec::cdi;
use wharf_engine::security::Modules;
use wharf_engine::security::selinux::Selinux;
use wharf_model::state::Status;

pub(crate) async fn ping() -> Response {
    let mut response = "OK".into_response();
    let headers = response.headers_mut();
    headers.insert("Builder-Version", HeaderValue::from_static("2"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    response
}

pub(crate) async fn not_found(request: Request) -> ApiError {
    tracing::debug!("{} {} is not served", request.method(), request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, "page not found")
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

pub(crate) async fn version(State(api): State<Api>) -> ApiResult {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let details = BTreeMap::from([
        ("ApiVersion".to_owned(), API_VERSION.to_owned()),
        ("MinAPIVersion".to_owned(), MIN_API_VERSION.to_owned()),
        ("Arch".to_owned(), arch().to_owned()),
        ("Os".to_owned(), "linux".to_owned()),
        ("KernelVersion".to_owned(), kernel.clone()),
    ]);
    let version = Version {
        platform: Platform { name: "Wharf".to_owned() },
        components: vec![Component {
            name: "Engine".to_owned(),
            version: api.about.version.clone(),
            details: Some(details),
        }],
        version: api.about.version.clone(),
        api_version: API_VERSION.to_owned(),
        min_api_version: MIN_API_VERSION.to_owned(),
        os: "linux".to_owned(),
        arch: arch().to_owned(),
        kernel_version: kernel,
        ..Version::default()
    };
    Ok(Json(version).into_response())
}

pub(crate) async fn info(State(api): State<Api>) -> ApiResult {
    let statuses: Vec<Status> = api.containers.list().iter().map(|h| h.record().status).collect();
    let count = |wanted: fn(&Status) -> bool| statuses.iter().filter(|s| wanted(s)).count() as i64;
    let uname = rustix::system::uname();
    let registries = api.images.client().settings();
    let proxy = |proxy: &Option<Proxy>| proxy.as_ref().map(Proxy::shown).unwrap_or_default();
    let names = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
    let (devices, mut warnings) = devices(&api).await?;
    let modules = api.containers.security();
    warnings.extend(modules.apparmor.warning());
    warnings.extend(modules.selinux.as_ref().and_then(Selinux::warning));
    let info = Info {
        id: api.about.id.clone(),
        containers: statuses.len() as i64,
        containers_running: count(|s| *s == Status::Running),
        containers_paused: count(|s| *s == Status::Paused),
        containers_stopped: count(|s| !s.is_running()),
        images: api.images.list().len() as i64,
        driver: api.about.storage.clone(),
        driver_status: vec![["Layers".to_owned(), api.about.layers.clone()]],
        plugins: Plugins {
            volume: names(&["local"]),
            network: names(&["bridge", "host", "ipvlan", "macvlan", "null"]),
            authorization: None,
            log: names(&wharf_model::logging::DRIVERS),
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: true,
        debug: api.about.debug.load(Ordering::Relaxed),
        labels: Some(api.about.labels.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        garbage_collection: Some(crate::gc::shown(&api.gc)),
        system_time: rfc3339(now_ns()),
        logging_driver: api.about.log.driver.clone(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: api.about.cgroup_version.to_string(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        operating_system: operating_system(),
        os_type: "linux".to_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registry_config(&registries)),
        http_proxy: proxy(&registries.proxies.http),
        https_proxy: proxy(&registries.proxies.https),
        no_proxy: registries.proxies.no_proxy.clone(),
        ncpu: std::thread::available_parallelism().map_or(1, |n| n.get() as i64),
        mem_total: wharf_engine::containers::host_memory() as i64,
        docker_root_dir: api.about.data_root.display().to_string(),
        name: uname.nodename().to_string_lossy().into_owned(),
        server_version: api.about.version.clone(),
        runtimes: BTreeMap::from([(
            "wharf".to_owned(),
            Runtime { path: "wharf".to_owned(), ..Runtime::default() },
        )]),
        default_runtime: "wharf".to_owned(),
        live_restore_enabled: true,
        init_binary: "wharf".to_owned(),
        security_options: security_options(modules, api.about.remaps_users),
        cdi_spec_dirs: api.about.cdi_spec_dirs.iter().map(|d| d.display().to_string()).collect(),
        discovered_devices: devices,
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
        swarm: wharf_docker_api::types::system::Swarm {
            local_node_state: "inactive".to_owned(),
            ..Default::default()
        },
        ..Info::default()
    };
    Ok(Json(info).into_response())
}

/// Devices that can be had by name, and what is wrong with their specifications.
async fn devices(api: &Api) -> ApiResult<(Vec<DiscoveredDevice>, Vec<String>)> {
    let directories = api.about.cdi_spec_dirs.clone();
    let read = tokio::task::spawn_blocking(move || cdi::discovered(&directories)).await;
    let (names, unread) =
        read.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("a worker failed: {e}")))?;
    let device = |id| DiscoveredDevice { source: "cdi".to_owned(), id };
    let warning = |why| format!("CDI: {why}");
    Ok((names.into_iter().map(device).collect(), unread.into_iter().map(warning).collect()))
}

/// Mirrors of other registries than Docker Hub are with the registry.
fn registry_config(settings: &Settings) -> RegistryConfig {
    let hub = wharf_oci::reference::DEFAULT_DOMAIN;
    let index = |name: &str, secure: bool| IndexConfig {
        name: name.to_owned(),
        mirrors: mirrors(settings, name),
        secure,
        official: name == hub,
    };
    let (networks, hosts): (Vec<&String>, Vec<&String>) =
        settings.insecure_registries.iter().partition(|entry| entry.contains('/'));
    let mut networks: Vec<String> = networks.into_iter().cloned().collect();
    networks.extend(["::1/128".to_owned(), "127.0.0.0/8".to_owned()]);
    let mut indexes = BTreeMap::from([(hub.to_owned(), index(hub, true))]);
    indexes.extend(settings.mirrors.keys().map(|name| (name.clone(), index(name, true))));
    indexes.extend(hosts.into_iter().map(|name| (name.clone(), index(name, false))));
    RegistryConfig {
        insecure_registry_cidrs: Some(networks),
        index_configs: indexes,
        mirrors: Some(mirrors(settings, hub)),
    }
}

/// With the slash at their end that Docker writes.
fn mirrors(settings: &Settings, registry: &str) -> Vec<String> {
    settings.mirrors.get(registry).into_iter().flatten().map(|mirror| format!("{}/", mirror.url())).collect()
}

fn security_options(modules: &Modules, remaps_users: bool) -> Vec<String> {
    let apparmor = modules.apparmor.is_enabled().then_some("name=apparmor");
    let selinux = modules.selinux.as_ref().map(|_| "name=selinux");
    let users = remaps_users.then_some("name=userns");
    apparmor
        .into_iter()
        .chain(["name=seccomp,profile=builtin"])
        .chain(selinux)
        .chain(users)
        .chain(["name=cgroupns"])
        .map(str::to_owned)
        .collect()
}

fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |n| n.trim_matches('"').to_owned())
}
