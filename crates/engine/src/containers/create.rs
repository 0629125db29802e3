//! Creating a container: record, name, snapshot, mounts; nothing runs yet.

use super::actor::Actor;
use super::{Containers, Handle, ImageView, blocking, spec};
use crate::clock::now_ns;
use crate::networks::settings;
use crate::random;
use std::collections::BTreeSet;
use std::sync::Arc;
use wharf_failpoint::failpoint;
use wharf_model::container::{
    self, ContainerRecord, ContainerSpec, Depth, MountSource, MountSpec, ResolvedMount,
};
use wharf_model::ids::is_valid_name;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_model::security::Relabel;
use wharf_model::snapshots::Tree;
use wharf_model::{ContainerId, Error, ErrorKind, Result};
use wharf_oci::digest::Digest;

/// A new container.
pub struct Created {
    /// Its handle.
    pub handle: Arc<Handle>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How many random names are tried before giving up.
const NAME_ATTEMPTS: u32 = 10;

impl Containers {
    /// Creates a container. Without a name one is made up.
    pub async fn create(&self, name: Option<String>, spec: ContainerSpec) -> Result<Created> {
        container::validate(&spec)?;
        if let Some(name) = &name
            && !is_valid_name(name)
        {
            return Err(Error::invalid(format!(
                "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        let id = ContainerId::from_bytes(random::bytes()?);
        let _held = self.hold_images(&id, &spec)?;
        let image = self.shared.images.find(&spec.image)?;
        self.shared.images.used(&image.id);
        crate::logs::remote::check(&spec.log)?;
        super::links::check(&self.registry, &spec.links)?;
        self.check_endpoints(&spec)?;
        let inherited = self.inherited(&spec)?;
        let mut record = self.new_record(id, name, spec, &image)?;
        let _level = self.label(&mut record)?;
        if record.command().is_empty() {
            return Err(Error::invalid("no command specified"));
        }
        let record = self.claim(record)?;
        failpoint!("create.claimed");
        let (made, mut record) = self.furnish(record, inherited, image.chain.clone()).await?;
        failpoint!("create.furnished");
        record.unfinished = false;
        let saved = made.and_then(|()| self.shared.save(&record));
        if let Err(e) = saved {
            self.shared.volumes.settle(record.id.as_str());
            self.shared.discard(&record)?;
            return Err(e);
        }
        failpoint!("create.saved");
        let id = record.id.clone();
        let handle = self.insert(Actor::spawn(self.shared.clone(), self.registry.clone(), record, None));
        // From here on the container itself is seen to use what it uses.
        self.shared.volumes.settle(id.as_str());
        self.shared.publish("create", &handle.record(), &[]);
        Ok(Created { handle, warnings: Vec::new() })
    }

    /// Networks that are not there are missed at the start, as with Docker.
    fn check_endpoints(&self, spec: &ContainerSpec) -> Result<()> {
        for (name, wish) in &spec.endpoints {
            match self.shared.networks.find(name) {
                Ok(network) => settings::check(&network.spec, wish)?,
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Keeps the images that a container is about to use from being removed meanwhile.
    fn hold_images(&self, id: &ContainerId, spec: &ContainerSpec) -> Result<HeldImages<'_>> {
        let mut held = HeldImages { registry: &self.registry, id: id.clone() };
        let mounted = spec.mounts.iter().filter_map(|m| match &m.source {
            MountSource::Image { name, .. } => Some(name),
            _ => None,
        });
        for name in std::iter::once(&spec.image).chain(mounted) {
            held.add(self.shared.images.find(name)?.id);
            // Once more: who was deciding that nobody uses it did not see this.
            held.add(self.shared.images.find(name)?.id);
        }
        Ok(held)
    }

    /// The snapshot, the directory and the mounts of a new container; with a failure the record tells what there is.
    async fn furnish(
        &self,
        mut record: ContainerRecord,
        inherited: Vec<ResolvedMount>,
        chain: Option<wharf_oci::digest::ChainId>,
    ) -> Result<(Result<()>, ContainerRecord)> {
        let shared = self.shared.clone();
        blocking(move || {
            let made = shared.furnish(&mut record, inherited, chain.as_ref());
            Ok((made, record))
        })
        .await
    }

    /// The mounts of `--volumes-from`; a place that the container names itself is its own.
    fn inherited(&self, spec: &ContainerSpec) -> Result<Vec<ResolvedMount>> {
        let place = |target: &str| target.trim_end_matches('/').to_owned();
        let mut taken: BTreeSet<String> = spec.mounts.iter().map(|m| place(&m.target)).collect();
        let mut inherited = Vec::new();
        for from in &spec.volumes_from {
            // Not absent: clients of Docker's take that for the image.
            let found = self.find(&from.container).map_err(|e| Error::invalid(e.full()))?;
            let record = found.record();
            for mount in record.mounts.iter().filter(|m| m.kind != "tmpfs") {
                if taken.insert(place(&mount.target)) {
                    let read_write = mount.read_write && !from.read_only;
                    inherited.push(ResolvedMount { read_write, ..mount.clone() });
                }
            }
        }
        Ok(inherited)
    }

    fn new_record(
        &self,
        id: ContainerId,
        name: Option<String>,
        mut spec: ContainerSpec,
        image: &ImageView,
    ) -> Result<ContainerRecord> {
        let mut labels = image.config.labels.clone();
        labels.extend(std::mem::take(&mut spec.labels));
        spec.labels = labels;
        if spec.stop_timeout.is_none() {
            spec.stop_timeout = image.config.stop_timeout;
        }
        Ok(ContainerRecord::new(
            id,
            name.unwrap_or_default(),
            now_ns(),
            spec,
            image.id.clone(),
            image.config.clone(),
        ))
    }

    /// Writes the record with its name, so that a crash from here on is seen by the next start.
    fn claim(&self, mut record: ContainerRecord) -> Result<ContainerRecord> {
        let given = !record.name.is_empty();
        for attempt in 0..NAME_ATTEMPTS {
            if !given {
                record.name = random::name(attempt)?;
            }
            match self.shared.claim(&record) {
                Ok(()) => return Ok(record),
                Err(e) if e.kind() == ErrorKind::Conflict && !given => {}
                Err(e) if e.kind() == ErrorKind::Conflict => {
                    return Err(Error::conflict(self.shared.taken(&record.name)?));
                }
                Err(e) => return Err(e),
            }
        }
        Err(Error::conflict("no free name was found: give one with --name"))
    }
}

/// Images that a container which is being created uses.
struct HeldImages<'a> {
    registry: &'a super::Registry,
    id: ContainerId,
}

impl HeldImages<'_> {
    fn add(&mut self, image: Digest) {
        self.registry.creating().entry(self.id.clone()).or_default().push(image);
    }
}

impl Drop for HeldImages<'_> {
    fn drop(&mut self) {
        self.registry.creating().remove(&self.id);
    }
}

impl super::Collaborators {
    fn claim(&self, record: &ContainerRecord) -> Result<()> {
        let claim = Change::Claim {
            kind: RecordKind::Container,
            name: record.name.clone(),
            id: record.id.to_string(),
        };
        self.records.commit(vec![claim, put(record)?], Durability::Process)
    }

    pub(super) fn save(&self, record: &ContainerRecord) -> Result<()> {
        self.records.commit(vec![put(record)?], Durability::Process)
    }

    /// The snapshot, the directory and the mounts of a new container.
    fn furnish(
        &self,
        record: &mut ContainerRecord,
        inherited: Vec<ResolvedMount>,
        chain: Option<&wharf_oci::digest::ChainId>,
    ) -> Result<()> {
        let directory = self.directory_of(&record.id);
        std::fs::create_dir_all(&directory)
            .map_err(|e| Error::wrap(ErrorKind::Internal, format!("make {}", directory.display()), e))?;
        failpoint!("create.directory");
        self.snapshots.prepare(record.id.as_str(), chain)?;
        failpoint!("create.snapshot");
        let mut wanted = record.spec.mounts.clone();
        let targets = wanted.iter().map(|m| &m.target).chain(inherited.iter().map(|m| &m.target));
        let taken: BTreeSet<String> = targets.map(|t| t.trim_end_matches('/').to_owned()).collect();
        for target in &record.image_config.volumes {
            if !taken.contains(target.trim_end_matches('/')) {
                let source = MountSource::Volume {
                    name: String::new(),
                    no_copy: false,
                    subpath: String::new(),
                    labels: Default::default(),
                };
                wanted.push(MountSpec {
                    source,
                    target: target.clone(),
                    read_only: false,
                    relabel: Relabel::Shared,
                });
            }
        }
        for mount in inherited.iter().filter(|m| m.kind == "volume") {
            self.volumes.share(&mount.name, &record.id)?;
        }
        record.mounts = inherited;
        let announced = self.announce_volumes(record, &mut wanted)?;
        for mount in wanted {
            let resolved = self.resolve_mount(&record.id, mount, &announced)?;
            record.mounts.push(resolved);
            failpoint!("create.mount");
        }
        Ok(())
    }

    /// Gives volumes without a name theirs, and keeps them before they are made: whoever undoes the creation after a
    /// crash finds them.
    fn announce_volumes(
        &self,
        record: &ContainerRecord,
        wanted: &mut [MountSpec],
    ) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        let mut announced = record.clone();
        for mount in wanted {
            if let MountSource::Volume { name, .. } = &mut mount.source
                && name.is_empty()
            {
                *name = ContainerId::from_bytes(random::bytes()?).to_string();
                names.insert(name.clone());
                announced.mounts.push(ResolvedMount {
                    kind: "volume".to_owned(),
                    name: name.clone(),
                    anonymous: true,
                    ..unresolved(mount.target.clone(), !mount.read_only)
                });
            }
        }
        if !names.is_empty() {
            self.save(&announced)?;
        }
        Ok(names)
    }

    /// The directories of an image's layers, topmost first.
    pub(super) fn layers_of(&self, image: &ImageView) -> Result<Vec<std::path::PathBuf>> {
        let chain = image.chain.as_ref();
        chain.map_or_else(
            || Err(Error::invalid("an image without layers cannot be mounted")),
            |c| self.snapshots.view(c),
        )
    }

    /// `announced` are the volumes that nobody named.
    fn resolve_mount(
        &self,
        id: &ContainerId,
        mount: MountSpec,
        announced: &BTreeSet<String>,
    ) -> Result<ResolvedMount> {
        let mut resolved = unresolved(mount.target, !mount.read_only);
        resolved.relabel = mount.relabel;
        match mount.source {
            MountSource::Bind { path, propagation, create, non_recursive, read_only } => {
                if !path.is_absolute() {
                    return Err(Error::invalid(format!(
                        "invalid mount config for type \"bind\": invalid mount path: '{}' mount path must be absolute",
                        path.display()
                    )));
                }
                if !path.exists() {
                    if !create {
                        return Err(Error::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            path.display()
                        )));
                    }
                    std::fs::create_dir_all(&path).map_err(|e| {
                        Error::wrap(ErrorKind::Internal, format!("make {}", path.display()), e)
                    })?;
                }
                "bind".clone_into(&mut resolved.kind);
                resolved.source = path;
                resolved.options.push(if non_recursive { "bind" } else { "rbind" }.to_owned());
                if !propagation.is_empty() {
                    resolved.options.push(propagation);
                }
                if read_only == Depth::All && !spec::mounts::can_be_read_only_below() {
                    return Err(Error::invalid(
                        "read-only mounts with all below need Linux 5.12: ask for bind-recursive=writable",
                    ));
                }
                if read_only == Depth::Alone {
                    resolved.options.push("ro".to_owned());
                }
            }
            MountSource::Volume { name, no_copy, subpath, labels } => {
                let (volume, path) = self.volumes.provide(&name, announced.contains(&name), labels, id)?;
                resolved.anonymous = volume.anonymous;
                failpoint!("create.volume");
                if !no_copy && self.volumes.is_empty(&volume.name)? {
                    let target = std::path::Path::new(&resolved.target);
                    self.snapshots.populate(Tree::Snapshot(id.as_str()), target, &path)?;
                    self.volumes.own(&volume)?;
                }
                "volume".clone_into(&mut resolved.kind);
                resolved.of_host = self.volumes.is_of_host(&volume);
                resolved.name = volume.name;
                resolved.source = path;
                resolved.subpath = subpath;
            }
            MountSource::Image { name, subpath } => {
                let image = self.images.find(&name)?;
                "image".clone_into(&mut resolved.kind);
                resolved.source = self.layers_of(&image)?.into_iter().next().unwrap_or_default();
                resolved.name = name;
                resolved.subpath = subpath;
                resolved.image = Some(image.id);
                resolved.read_write = false;
            }
            MountSource::Tmpfs { options } => {
                "tmpfs".clone_into(&mut resolved.kind);
                resolved.options = options;
            }
        }
        Ok(resolved)
    }
}

fn unresolved(target: String, read_write: bool) -> ResolvedMount {
    ResolvedMount {
        kind: String::new(),
        name: String::new(),
        source: Default::default(),
        target,
        read_write,
        options: Vec::new(),
        subpath: String::new(),
        image: None,
        of_host: false,
        anonymous: false,
        relabel: Relabel::No,
    }
}

fn put(record: &ContainerRecord) -> Result<Change> {
    let body = serde_json::to_vec(record)
        .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the container's record", e))?;
    Ok(Change::Put { kind: RecordKind::Container, id: record.id.to_string(), body })
}
