//! Whether a project makes sense as a whole: what it names is there, nothing waits for itself.

use super::Project;
use super::scalars::Map;
use super::service::Service;
use crate::error::Error;
use crate::files::nearest::nearest;
use std::collections::BTreeMap;

/// Refuses what makes no sense. `disabled` are services of other profiles, which may be named.
pub fn validate(project: &Project, disabled: &Map<Service>) -> Result<(), Error> {
    for (name, service) in &project.services {
        one(project, disabled, name, service)
            .map_err(|what| Error::project(format!("{what}: invalid compose project")))?;
    }
    for (kind, files) in [("secret", &project.secrets), ("config", &project.configs)] {
        for (name, file) in files {
            let given = [!file.file.is_empty(), !file.environment.is_empty(), !file.content.is_empty()];
            let sources = given.iter().filter(|given| **given).count();
            if sources > 1 {
                return Err(Error::project(format!(
                    "{kind}s.{name}: file, environment and content are mutually exclusive"
                )));
            }
            if sources == 0 && !file.external && file.driver.is_empty() {
                return Err(Error::project(format!(
                    "{kind} {name:?} must declare either `file`, `environment` or `content`"
                )));
            }
        }
    }
    for (name, volume) in &project.volumes {
        if volume.external
            && (!volume.driver.is_empty() || !volume.driver_opts.is_empty() || !volume.labels.is_empty())
        {
            return Err(Error::project(format!(
                "conflicting parameters \"external\" and others specified for volume {name:?}"
            )));
        }
    }
    for (name, network) in &project.networks {
        if network.external && (!network.driver.is_empty() || network.internal) {
            return Err(Error::project(format!(
                "conflicting parameters \"external\" and others specified for network {name:?}"
            )));
        }
    }
    container_names(project)?;
    cycles(project)
}

fn one(project: &Project, disabled: &Map<Service>, name: &str, service: &Service) -> Result<(), String> {
    let undefined = |what: &str, wanted: &str, known: &mut dyn Iterator<Item = &String>| {
        let near =
            nearest(wanted, known.map(String::as_str)).map(|near| format!(" (did you mean {near:?}?)"));
        format!("service {name:?} refers to undefined {what} {wanted}{}", near.unwrap_or_default())
    };
    if service.image.is_empty() && service.build.is_none() && service.provider.is_none() {
        return Err(format!("service {name:?} has neither an image nor a build context specified"));
    }
    if let Some(build) = &service.build {
        if !build.dockerfile_inline.is_empty() && !build.dockerfile.is_empty() {
            return Err(format!(
                "service {name:?} declares mutually exclusive dockerfile and dockerfile_inline"
            ));
        }
        if let Some(secret) =
            build.secrets.iter().find(|secret| !project.secrets.contains_key(&secret.source))
        {
            return Err(undefined("build secret", &secret.source, &mut project.secrets.keys()));
        }
    }
    if !service.network_mode.is_empty() && !service.networks.is_empty() {
        return Err(format!("service {name} declares mutually exclusive `network_mode` and `networks`"));
    }
    if let Some(network) = service.networks.keys().find(|network| !project.networks.contains_key(*network)) {
        return Err(undefined("network", network, &mut project.networks.keys()));
    }
    for (needed, how) in &service.depends_on {
        let there = project.services.contains_key(needed) || disabled.contains_key(needed);
        if !there && how.required.0 {
            let near = nearest(needed, project.services.keys().map(String::as_str));
            let hint = near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
            return Err(format!("service {name:?} depends on undefined service {needed:?}{hint}"));
        }
    }
    for volume in &service.volumes {
        if volume.kind == "volume"
            && !volume.source.is_empty()
            && !project.volumes.contains_key(&volume.source)
        {
            return Err(undefined("volume", &volume.source, &mut project.volumes.keys()));
        }
        if volume.target.is_empty() {
            return Err(format!("service {name:?}: invalid mount config: a target is required"));
        }
    }
    targets(name, service)?;
    if let Some(secret) = service.secrets.iter().find(|secret| !project.secrets.contains_key(&secret.source))
    {
        return Err(undefined("secret", &secret.source, &mut project.secrets.keys()));
    }
    if let Some(config) = service.configs.iter().find(|config| !project.configs.contains_key(&config.source))
    {
        return Err(undefined("config", &config.source, &mut project.configs.keys()));
    }
    if let Some(model) = service.models.keys().find(|model| !project.models.contains_key(*model)) {
        return Err(undefined("model", model, &mut project.models.keys()));
    }
    twice(service)
}

/// One place in a container is for one mount.
fn targets(name: &str, service: &Service) -> Result<(), String> {
    let volumes = service
        .volumes
        .iter()
        .enumerate()
        .map(|(at, volume)| (volume.target.as_str(), format!("volumes[{at}]")));
    let tmpfs = service
        .tmpfs
        .iter()
        .enumerate()
        .map(|(at, text)| (text.split(':').next().unwrap_or_default(), format!("tmpfs[{at}]")));
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    for (target, what) in volumes.chain(tmpfs) {
        if let Some(other) = known.insert(target, what.clone()) {
            return Err(format!(
                "services.{name}.{what}: target {target} already mounted as services.{name}.{other}"
            ));
        }
    }
    Ok(())
}

/// Attributes that say the same thing in two places.
fn twice(service: &Service) -> Result<(), String> {
    let distinct = |a: &str, b: &str| Err(format!("can't set distinct values on '{a}' and '{b}'"));
    let Some(deploy) = &service.deploy else { return Ok(()) };
    if let (Some(scale), Some(replicas)) = (service.scale, deploy.replicas)
        && scale != replicas
    {
        return distinct("scale", "deploy.replicas");
    }
    if let Some(limits) = &deploy.resources.limits {
        if service.cpus != 0.0 && limits.cpus != 0.0 && service.cpus != limits.cpus {
            return distinct("cpus", "deploy.resources.limits.cpus");
        }
        if service.mem_limit.0 != 0 && limits.memory.0 != 0 && service.mem_limit != limits.memory {
            return distinct("mem_limit", "deploy.resources.limits.memory");
        }
        if service.pids_limit != 0 && limits.pids != 0 && service.pids_limit != limits.pids {
            return distinct("pids_limit", "deploy.resources.limits.pids");
        }
    }
    if let Some(reserved) = &deploy.resources.reservations
        && service.mem_reservation.0 != 0
        && reserved.memory.0 != 0
        && service.mem_reservation != reserved.memory
    {
        return distinct("mem_reservation", "deploy.resources.reservations.memory");
    }
    Ok(())
}

fn container_names(project: &Project) -> Result<(), Error> {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in project.services.iter().filter(|(_, service)| !service.container_name.is_empty()) {
        if let Some(other) = known.insert(&service.container_name, name) {
            return Err(Error::project(format!(
                "services.{name}: container name {:?} is already in use by service {other:?}: invalid compose project",
                service.container_name
            )));
        }
    }
    Ok(())
}

fn cycles(project: &Project) -> Result<(), Error> {
    fn visit<'a>(
        project: &'a Project,
        name: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut Vec<&'a str>,
    ) -> Result<(), Error> {
        if done.contains(&name) {
            return Ok(());
        }
        if let Some(at) = way.iter().position(|known| *known == name) {
            let mut cycle = way[at..].to_vec();
            cycle.push(name);
            return Err(Error::project(format!("dependency cycle detected: {}", cycle.join(" -> "))));
        }
        way.push(name);
        if let Some(service) = project.services.get(name) {
            for needed in service.depends_on.keys() {
                visit(project, needed, way, done)?;
            }
        }
        way.pop();
        done.push(name);
        Ok(())
    }
    let mut done = Vec::new();
    for name in project.services.keys() {
        visit(project, name, &mut Vec::new(), &mut done)?;
    }
    Ok(())
}
