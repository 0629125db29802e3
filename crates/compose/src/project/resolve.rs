//! Values that come from outside of the files: variables without one, files of variables and labels.

use super::Project;
use super::service::Service;
use crate::error::Error;
use crate::files::{Environment, dotenv};
use std::collections::BTreeMap;
use std::path::Path;

/// Gives variables of services that have no value ours.
pub fn inherited(project: &mut Project, environment: &Environment) {
    for service in project.services.values_mut() {
        inherit(&mut service.environment, environment);
    }
}

/// Gives services their environment. Paths that are relative are so to `dir`.
pub fn resolve(project: &mut Project, environment: &Environment, dir: &Path) -> Result<(), Error> {
    for service in project.services.values_mut() {
        env(service, environment, dir)?;
        service.env_file.clear();
    }
    Ok(())
}

/// Gives services the labels of their files.
pub fn labels(project: &mut Project, environment: &Environment, dir: &Path) -> Result<(), Error> {
    project.services.values_mut().try_for_each(|service| service_labels(service, environment, dir))
}

/// Gives variables that have no value ours.
pub fn inherit(values: &mut BTreeMap<String, Option<String>>, environment: &Environment) {
    for (name, value) in values.iter_mut().filter(|(_, value)| value.is_none()) {
        *value = environment.get(name).map(str::to_owned);
    }
}

fn env(service: &mut Service, environment: &Environment, dir: &Path) -> Result<(), Error> {
    let mut all: BTreeMap<String, Option<String>> = BTreeMap::new();
    for file in &service.env_file {
        let path = &dir.join(&file.path);
        if !file.required.0 && !path.exists() {
            continue;
        }
        if !file.format.is_empty() && file.format != "raw" {
            return Err(Error::project(format!(
                "unsupported env_file format {:?}: there is raw",
                file.format
            )));
        }
        let lookup = |name: &str| {
            environment.get(name).map(str::to_owned).or_else(|| all.get(name).cloned().flatten())
        };
        let found = dotenv::read(path, file.format == "raw", &lookup).map_err(|error| match error {
            Error::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::project(format!("env file {} not found: {source}", file.path))
            }
            other => other,
        })?;
        for (name, value) in found {
            let value = value.or_else(|| environment.get(&name).map(str::to_owned));
            if value.is_some() {
                all.insert(name, value);
            }
        }
    }
    inherit(&mut service.environment, environment);
    for (name, value) in std::mem::take(&mut service.environment) {
        all.insert(name, value);
    }
    service.environment = all;
    if let Some(build) = &mut service.build {
        inherit(&mut build.args, environment);
        build.args.retain(|_, value| value.is_some());
    }
    Ok(())
}

fn service_labels(service: &mut Service, environment: &Environment, dir: &Path) -> Result<(), Error> {
    let mut all = BTreeMap::new();
    for path in &service.label_file {
        let found = dotenv::read(&dir.join(path), false, &|name| environment.get(name).map(str::to_owned))?;
        all.extend(found.into_iter().map(|(name, value)| (name, value.unwrap_or_default())));
    }
    all.append(&mut service.labels);
    service.labels = all;
    service.label_file.clear();
    Ok(())
}
