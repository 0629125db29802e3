//! Which services of a project are meant.

use super::Project;
use super::scalars::Map;
use super::service::Service;
use crate::error::Error;
use std::collections::BTreeSet;

/// Takes out services of profiles that are not active, and returns them.
pub fn apply(project: &mut Project, active: &[String]) -> Map<Service> {
    let everything = active.iter().any(|profile| profile == "*");
    let on = |service: &Service| {
        everything
            || service.profiles.is_empty()
            || service.profiles.iter().any(|profile| active.contains(profile))
    };
    let (on, off): (Map<Service>, Map<Service>) =
        std::mem::take(&mut project.services).into_iter().partition(|(_, service)| on(service));
    project.services = on;
    off
}

/// Brings back services that are named, whatever their profiles, and those of the same profiles that they need.
pub fn enable(project: &mut Project, disabled: &mut Map<Service>, names: &[String]) -> Result<(), Error> {
    let mut pending: Vec<String> = names.to_vec();
    let mut profiles: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = pending.pop() {
        if project.services.contains_key(&name) {
            continue;
        }
        let Some(service) = disabled.remove(&name) else {
            return Err(Error::NotFound(format!("no such service: {name}")));
        };
        profiles.extend(service.profiles.iter().cloned());
        let needed = service.depends_on.keys().filter(|name| {
            disabled.get(*name).is_some_and(|needed| needed.profiles.iter().any(|p| profiles.contains(p)))
        });
        pending.extend(needed.cloned());
        project.services.insert(name, service);
    }
    Ok(())
}

/// Leaves the named services alone, with what they depend on where `dependencies` says so; all of them where none is named.
pub fn select(project: &mut Project, names: &[String], dependencies: bool) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut pending: Vec<(String, bool)> = names.iter().map(|name| (name.clone(), true)).collect();
    while let Some((name, required)) = pending.pop() {
        let Some(service) = project.services.get(&name) else {
            if required {
                return Err(Error::NotFound(format!("no such service: {name}")));
            }
            continue;
        };
        if wanted.insert(name) && dependencies {
            pending.extend(service.depends_on.iter().map(|(name, how)| (name.clone(), how.required.0)));
        }
    }
    project.services.retain(|name, _| wanted.contains(name));
    if !dependencies {
        for service in project.services.values_mut() {
            service.depends_on.retain(|name, _| wanted.contains(name));
        }
    }
    Ok(())
}

/// Forgets optional dependencies on services that are not meant, and refuses others.
pub fn settle(project: &mut Project, disabled: &Map<Service>) -> Result<(), Error> {
    let there: BTreeSet<String> = project.services.keys().cloned().collect();
    for (name, service) in &mut project.services {
        service.depends_on.retain(|needed, how| how.required.0 || there.contains(needed));
        for needed in service.depends_on.keys().filter(|needed| !there.contains(*needed)) {
            if let Some(off) = disabled.get(needed) {
                return Err(Error::project(format!(
                    "service {needed:?} is required by {name:?} but is disabled. Can be enabled by profiles [{}]",
                    off.profiles.join(" ")
                )));
            }
        }
    }
    Ok(())
}
