//! What the files leave unsaid: the default network, names of resources, dependencies that follow from other attributes.

use super::Project;
use super::scalars::Shown;
use super::service::{Dependency, Service};
use crate::files::{Node, Value};
use std::path::Path;

/// Fills it in.
pub fn normalize(project: &mut Project, dir: &Path) {
    let mut uses_default = false;
    for service in project.services.values_mut() {
        if service.network_mode.is_empty() && service.networks.is_empty() && service.provider.is_none() {
            service.networks.insert("default".into(), None);
        }
        uses_default |= service.networks.contains_key("default");
        normalize_service(service, dir);
    }
    if uses_default {
        project.networks.entry("default".into()).or_default();
    }
    names(project);
}

/// The same of files whose variables stay as they are written.
pub fn written(tree: &mut Node, name: &str, dir: &Path) {
    let mut uses_default = false;
    for service in tree.get_mut("services").into_iter().flat_map(Node::entries_mut) {
        let service = &mut service.node;
        let is_in_none =
            ["network_mode", "networks", "provider"].iter().all(|key| service.given(key).is_none());
        if is_in_none {
            service.set("networks", Node::map([("default", Value::Null)], &service.at.clone()));
        }
        uses_default |= service.get("networks").is_some_and(|networks| networks.get("default").is_some());
        if let Some(build) = service.get_mut("build") {
            build.or_set("context", Value::Text(dir.to_string_lossy().into_owned()));
            if build.get("dockerfile_inline").is_none() {
                build.or_set("dockerfile", Value::Text("Dockerfile".into()));
            }
        }
    }
    if uses_default && tree.get("networks").is_none_or(|networks| networks.get("default").is_none()) {
        tree.or_set("networks", Value::Map(Vec::new()));
        if let Some(networks) = tree.get_mut("networks") {
            networks.or_set("default", Value::Map(Vec::new()));
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        for entry in tree.get_mut(section).into_iter().flat_map(Node::entries_mut) {
            if entry.node.value == Value::Null {
                entry.node.value = Value::Map(Vec::new());
            }
            let external = entry.node.get("external").is_some_and(|node| node.value == Value::Bool(true));
            let own = if external { entry.key.clone() } else { format!("{name}_{}", entry.key) };
            entry.node.or_set("name", Value::Text(own));
        }
    }
    tree.set("name", Node::text(name, &tree.at.clone()));
}

fn normalize_service(service: &mut Service, dir: &Path) {
    if let Some(build) = &mut service.build {
        if build.context.is_empty() {
            build.context = dir.to_string_lossy().into_owned();
        }
        if build.dockerfile.is_empty() && build.dockerfile_inline.is_empty() {
            build.dockerfile = "Dockerfile".into();
        }
    }
    if service.pull_policy == "if_not_present" {
        service.pull_policy = "missing".into();
    }
    for gpu in &mut service.gpus {
        if gpu.count == 0 && gpu.device_ids.is_empty() {
            gpu.count = -1;
        }
    }
    if let Some(deploy) = &mut service.deploy {
        let sides = [&mut deploy.resources.limits, &mut deploy.resources.reservations];
        for device in sides.into_iter().flatten().flat_map(|side| &mut side.devices) {
            if device.count == 0 && device.device_ids.is_empty() {
                device.count = -1;
            }
        }
        if service.scale.is_some() && deploy.replicas.is_none() {
            deploy.replicas = service.scale;
        }
    }
    inferred(service);
}

/// Gives secrets their usual places.
pub fn targets(project: &mut Project) {
    for service in project.services.values_mut() {
        default_targets(&mut service.secrets);
    }
}

fn default_targets(secrets: &mut [super::service::FileReference]) {
    for secret in secrets {
        if secret.target.is_empty() {
            secret.target = format!("/run/secrets/{}", secret.source);
        }
    }
}

/// Dependencies that follow from links, shared namespaces and shared volumes.
fn inferred(service: &mut Service) {
    let mut found: Vec<(String, bool)> = Vec::new();
    for link in &service.links {
        found.push((link.split(':').next().unwrap_or_default().to_owned(), true));
    }
    for mode in [&service.network_mode, &service.ipc, &service.pid, &service.uts, &service.cgroup] {
        if let Some(name) = mode.strip_prefix("service:") {
            found.push((name.to_owned(), true));
        }
    }
    for from in &service.volumes_from {
        let name = from.split(':').next().unwrap_or_default();
        if name != "container" {
            found.push((name.to_owned(), false));
        }
    }
    for (name, restart) in found {
        service.depends_on.entry(name).or_insert_with(|| Dependency {
            condition: "service_started".into(),
            restart,
            required: Shown(true),
            ..Dependency::default()
        });
    }
}

fn names(project: &mut Project) {
    let prefix = project.name.clone();
    let named = |name: &mut String, key: &str, external: bool| {
        if name.is_empty() {
            *name = if external { key.to_owned() } else { format!("{prefix}_{key}") };
        }
    };
    for (key, network) in &mut project.networks {
        named(&mut network.name, key, network.external);
    }
    for (key, volume) in &mut project.volumes {
        named(&mut volume.name, key, volume.external);
    }
    for (key, file) in project.secrets.iter_mut().chain(&mut project.configs) {
        named(&mut file.name, key, file.external);
    }
}

/// Takes out resources that no service uses.
pub fn prune(project: &mut Project) {
    let services: Vec<&Service> = project.services.values().collect();
    let networks = |name: &str| services.iter().any(|service| service.networks.contains_key(name));
    let volumes = |name: &str| {
        services
            .iter()
            .flat_map(|service| &service.volumes)
            .any(|volume| volume.kind == "volume" && volume.source == name)
    };
    let secrets = |name: &str| {
        let built =
            services.iter().filter_map(|service| service.build.as_ref()).flat_map(|build| &build.secrets);
        services.iter().flat_map(|service| &service.secrets).chain(built).any(|secret| secret.source == name)
    };
    let configs =
        |name: &str| services.iter().flat_map(|service| &service.configs).any(|config| config.source == name);
    let models = |name: &str| services.iter().any(|service| service.models.contains_key(name));
    project.networks.retain(|name, _| networks(name));
    project.volumes.retain(|name, _| volumes(name));
    project.secrets.retain(|name, _| secrets(name));
    project.configs.retain(|name, _| configs(name));
    project.models.retain(|name, _| models(name));
}
