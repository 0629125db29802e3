//! What is mounted in a service's container.

use super::Plan;
use crate::error::Error;
use crate::project::service::{FileReference, ServiceVolume};
use crate::project::{FileObject, Project};
use wharf_docker_api::types::host_config::{
    BindOptions, HostConfig, ImageOptions, Mount, TmpfsOptions, VolumeOptions,
};

/// Adds all mounts: as `Binds` what those can say, as `Mounts` the rest, as Docker's tool does.
pub(super) fn add(project: &Project, plan: &Plan<'_>, host: &mut HostConfig) -> Result<(), Error> {
    let mut binds = Vec::new();
    let mut mounts = Vec::new();
    for volume in &plan.service.volumes {
        let source = match (volume.kind.as_str(), volume.source.as_str()) {
            ("volume", "") => plan.inherited.get(&volume.target).cloned().unwrap_or_default(),
            ("volume", key) => {
                project.volumes.get(key).map_or_else(|| key.to_owned(), |volume| volume.name.clone())
            }
            (_, source) => source.to_owned(),
        };
        if is_bind(volume) && !source.is_empty() {
            binds.push(bind(volume, &source));
        } else {
            mounts.push(mount(volume, source)?);
        }
    }
    let taken = |target: &str| plan.service.volumes.iter().any(|volume| volume.target == target);
    let declared =
        plan.image.and_then(|image| image.config.as_ref()).and_then(|config| config.volumes.as_ref());
    for (target, name) in plan.inherited.iter().filter(|(target, _)| !taken(target)) {
        if declared.is_some_and(|declared| declared.contains_key(target.as_str())) {
            mounts.push(Mount {
                kind: "volume".into(),
                source: name.clone(),
                target: target.clone(),
                ..Mount::default()
            });
        }
    }
    let read_only = plan.service.read_only;
    files(&plan.service.configs, &project.configs, "/", read_only, &mut mounts)?;
    files(&plan.service.secrets, &project.secrets, "/run/secrets/", read_only, &mut mounts)?;
    host.binds = (!binds.is_empty()).then_some(binds);
    host.mounts = (!mounts.is_empty()).then_some(mounts);
    Ok(())
}

/// Whether `source:target:options` says all.
fn is_bind(volume: &ServiceVolume) -> bool {
    match volume.kind.as_str() {
        "bind" => volume.bind.as_ref().is_none_or(|bind| bind.create_host_path && bind.recursive.is_empty()),
        "volume" => {
            let plain = |volume: &crate::project::service::VolumeOptions| {
                volume.labels.is_empty() && volume.subpath.is_empty() && !volume.nocopy
            };
            !volume.source.is_empty() && volume.volume.as_ref().is_none_or(plain)
        }
        _ => false,
    }
}

fn bind(volume: &ServiceVolume, source: &str) -> String {
    let mut options = vec![if volume.read_only { "ro" } else { "rw" }];
    if let Some(bind) = &volume.bind {
        options.extend(
            [bind.selinux.as_str(), bind.propagation.as_str()]
                .into_iter()
                .filter(|option| !option.is_empty()),
        );
    }
    format!("{source}:{}:{}", volume.target, options.join(","))
}

fn mount(volume: &ServiceVolume, source: String) -> Result<Mount, Error> {
    let mut mount = Mount {
        kind: volume.kind.clone(),
        source,
        target: volume.target.clone(),
        read_only: volume.read_only,
        consistency: volume.consistency.clone(),
        ..Mount::default()
    };
    match volume.kind.as_str() {
        "bind" => {
            let bind = volume.bind.clone().unwrap_or_default();
            mount.bind_options = Some(BindOptions {
                propagation: bind.propagation,
                create_mountpoint: bind.create_host_path,
                non_recursive: bind.recursive == "disabled",
                read_only_non_recursive: bind.recursive == "writable",
                read_only_force_recursive: bind.recursive == "readonly",
            });
        }
        "volume" => {
            let options = volume.volume.clone().unwrap_or_default();
            mount.volume_options = Some(VolumeOptions {
                no_copy: options.nocopy,
                labels: (!options.labels.is_empty()).then_some(options.labels),
                subpath: options.subpath,
                driver_config: None,
            });
        }
        "tmpfs" => {
            let options = volume.tmpfs.clone().unwrap_or_default();
            mount.tmpfs_options =
                Some(TmpfsOptions { size_bytes: options.size.0, mode: options.mode, options: None });
        }
        "image" => {
            let options = volume.image.clone().unwrap_or_default();
            mount.image_options = Some(ImageOptions { subpath: options.subpath });
        }
        other => return Err(Error::project(format!("volume type {other:?} is not there on this engine"))),
    }
    Ok(mount)
}

/// Secrets and configs from files are mounted; others are written into the container when it is made.
fn files(
    wanted: &[FileReference],
    known: &crate::project::Map<FileObject>,
    dir: &str,
    read_only: bool,
    mounts: &mut Vec<Mount>,
) -> Result<(), Error> {
    // Docker's tool says it of secrets alone, which makes no difference.
    let is_secret = dir != "/";
    for reference in wanted {
        let Some(file) = known.get(&reference.source) else { continue };
        if file.external {
            return Err(Error::project(format!(
                "unsupported external secret or config {}",
                reference.source
            )));
        }
        if file.file.is_empty() || is_copied(reference, file, read_only) {
            continue;
        }
        mounts.push(Mount {
            kind: "bind".into(),
            source: file.file.clone(),
            target: target(reference, dir),
            read_only: true,
            bind_options: is_secret.then(BindOptions::default),
            ..Mount::default()
        });
    }
    Ok(())
}

/// Whether a file is written into the container like a text. A mount shows the file's own owner and mode, so one that is to have
/// others is a copy; but not in a container that nothing can be written into.
pub(crate) fn is_copied(reference: &FileReference, file: &FileObject, read_only: bool) -> bool {
    let asked = !reference.uid.is_empty() || !reference.gid.is_empty() || reference.mode.is_some();
    asked && !read_only && std::path::Path::new(&file.file).is_file()
}

/// Where a secret or config is in the container: beneath the usual directory unless an absolute path is given.
pub(crate) fn target(reference: &FileReference, dir: &str) -> String {
    match reference.target.as_str() {
        "" => format!("{dir}{}", reference.source),
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => format!("{dir}{relative}"),
    }
}
