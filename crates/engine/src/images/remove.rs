//! Removing names, images and what nobody needs any more.

use super::lease::Lease;
use super::record::Table;
use super::{Image, Images};
use std::collections::BTreeSet;
use std::sync::Arc;
use wharf_failpoint::failpoint;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest};
use wharf_oci::reference::Reference;

/// What `docker rmi` says it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name went.
    Untagged(Reference),
    /// An image or a layer went.
    Deleted(Digest),
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The container, shortened.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// Tells which container uses an image, a running one first.
type InUse<'a> = &'a dyn Fn(&Digest) -> Option<User>;

fn short(image: &Image) -> &str {
    &image.id.hex()[..12]
}

impl Images {
    /// Removes a name, and the image with its last name; or by id the image with all its names.
    /// `Conflict` when containers or images stand on it; `force` overrides stopped containers and several
    /// names, never a running container.
    pub fn remove(&self, name: &str, force: bool, in_use: InUse<'_>) -> Result<Vec<Removed>> {
        let image = self.resolve(name)?;
        let mut table = self.table();
        let image = table.now(&image)?;
        let (tags, digests) = table.names_of(&image.id);
        let reference = name.parse::<Reference>().ok().map(Reference::or_latest);
        let by_name = reference.filter(|reference| tags.contains(reference) || digests.contains(reference));
        let mut gone = Vec::new();
        let names: Vec<Reference> = match by_name {
            Some(reference) if tags.iter().any(|t| *t != reference) => {
                // Others remain: only this name goes, and its repository's digests when it was the last there.
                let mut names = vec![reference.clone()];
                if !tags.iter().any(|t| *t != reference && t.repository() == reference.repository()) {
                    names.extend(digests.into_iter().filter(|d| d.repository() == reference.repository()));
                }
                names
            }
            Some(reference) => {
                if let Some(user) = in_use(&image.id).filter(|user| user.running || !force) {
                    let how = if user.running { "cannot be forced" } else { "must force" };
                    return Err(Error::conflict(format!(
                        "conflict: unable to remove repository reference \"{}\" ({how}) - container {} is using \
                         its referenced image {}",
                        reference.familiar(),
                        user.container,
                        short(&image)
                    )));
                }
                tags.into_iter().chain(digests).collect()
            }
            None => {
                self.check_delete(&table, &image, &tags, force, in_use)?;
                tags.into_iter().chain(digests).collect()
            }
        };
        let remaining = table.names.iter().any(|(name, id)| *id == image.id && !names.contains(name));
        let children = table.images.values().any(|other| other.parent.as_ref() == Some(&image.id));
        let delete = !remaining && !children;
        table.delete(&*self.records, &names, delete.then_some(&image.id))?;
        gone.extend(names.into_iter().map(Removed::Untagged));
        if delete {
            gone.push(Removed::Deleted(image.id.clone()));
            let mut removed = vec![Arc::clone(&image)];
            // Steps of the build that made it and that nothing else uses.
            let mut next = image.parent.clone();
            while let Some(parent) = next.and_then(|id| table.images.get(&id).cloned()) {
                let named = table.names.values().any(|id| *id == parent.id);
                let needed = table.images.values().any(|other| other.parent.as_ref() == Some(&parent.id));
                if named || needed || in_use(&parent.id).is_some() {
                    break;
                }
                table.delete(&*self.records, &[], Some(&parent.id))?;
                gone.push(Removed::Deleted(parent.id.clone()));
                next = parent.parent.clone();
                removed.push(parent);
            }
            // The disk may take its time: nobody has to wait for the table meanwhile.
            drop(table);
            failpoint!("image.forgotten");
            for image in removed {
                gone.extend(self.release(&image)?.into_iter().map(|chain| Removed::Deleted(chain.0)));
            }
        }
        Ok(gone)
    }

    /// Removes an image by id with all its names. `in_use` tells who uses it, given when it was last used.
    pub(crate) fn remove_unused(
        &self,
        id: &str,
        in_use: &dyn Fn(&Digest, i64) -> Option<User>,
    ) -> Result<Vec<Removed>> {
        self.remove(id, true, &|image| in_use(image, self.uses.at_ns(image)))
    }

    fn check_delete(
        &self,
        table: &Table,
        image: &Image,
        tags: &[Reference],
        force: bool,
        in_use: InUse<'_>,
    ) -> Result<()> {
        let conflict = |how: &str, why: String| {
            Err(Error::conflict(format!("conflict: unable to delete {} ({how}) - {why}", short(image))))
        };
        if table.images.values().any(|other| other.parent.as_ref() == Some(&image.id)) {
            return conflict("cannot be forced", "image has dependent child images".to_owned());
        }
        if let Some(user) = in_use(&image.id) {
            if user.running {
                return conflict(
                    "cannot be forced",
                    format!("image is being used by running container {}", user.container),
                );
            }
            if !force {
                return conflict(
                    "must be forced",
                    format!("image is being used by stopped container {}", user.container),
                );
            }
        }
        let repositories: BTreeSet<String> = tags.iter().map(Reference::repository).collect();
        if repositories.len() > 1 && !force {
            return conflict("must be forced", "image is referenced in multiple repositories".to_owned());
        }
        Ok(())
    }

    /// Removes the layers and blobs of an image that no image needs; returns the layers that went.
    fn release(&self, image: &Image) -> Result<Vec<ChainId>> {
        let mut gone = Vec::new();
        for chain in image.chains().into_iter().rev() {
            if self.drop_layer(&chain)? {
                gone.push(chain);
            }
        }
        failpoint!("image.layers-dropped");
        for digest in image.blobs() {
            self.drop_blob(digest)?;
        }
        Ok(gone)
    }

    /// False when an image needs the layer, or something stands on it or holds it: then it goes when that does.
    fn drop_layer(&self, chain: &ChainId) -> Result<bool> {
        // Asked while nobody can begin to hold it: who holds it now will have recorded an image before.
        let removed = Lease::while_free(&self.leases, &chain.0, || {
            let needed = self.table().images.values().any(|image| image.chains().contains(chain));
            if needed { Ok(false) } else { self.snapshots.remove_layer(chain).map(|()| true) }
        });
        match removed {
            None => Ok(false),
            Some(Err(e)) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(false),
            Some(result) => result,
        }
    }

    fn drop_blob(&self, digest: &Digest) -> Result<()> {
        let removed = Lease::while_free(&self.leases, digest, || {
            let needed = self.table().images.values().any(|image| image.blobs().any(|blob| blob == digest));
            if needed { Ok(()) } else { self.blobs.remove(digest) }
        });
        removed.transpose().map(drop)
    }

    /// Removes images without a name that nobody uses, or with `all` every image that nobody uses. Returns what
    /// went and the bytes that are free now.
    pub fn prune(
        &self,
        all: bool,
        keep: &dyn Fn(&Image) -> bool,
        in_use: InUse<'_>,
    ) -> Result<(Vec<Removed>, u64)> {
        let mut gone = Vec::new();
        let before = self.disk_usage()?;
        loop {
            let listed = self.list();
            let next = listed.iter().find(|listed| {
                !listed.has_children
                    && (all || listed.tags.is_empty())
                    && !keep(&listed.image)
                    && in_use(&listed.image.id).is_none()
            });
            let Some(next) = next else { break };
            gone.extend(self.remove(next.image.id.as_str(), true, in_use)?);
        }
        Ok((gone, before.saturating_sub(self.disk_usage()?)))
    }

    /// Bytes of all layers' files and all blobs.
    pub fn disk_usage(&self) -> Result<u64> {
        Ok(self.stored()?.values().sum())
    }

    /// Removes every layer and blob that no image needs and nobody holds: what crashes and broken pulls left,
    /// and what a removed container kept.
    pub fn collect_garbage(&self) -> Result<()> {
        let _collecting = self.pending.collecting();
        let (blobs, chains) = {
            let table = self.table();
            (table.blobs(), table.chains())
        };
        for (digest, _) in self.blobs.list()? {
            if !blobs.contains(&digest) {
                self.drop_blob(&digest)?;
            }
        }
        // A layer goes after those on it: each round takes the topmost.
        loop {
            let mut removed = false;
            for layer in self.snapshots.layers()? {
                removed |= !chains.contains(&layer.chain_id) && self.drop_layer(&layer.chain_id)?;
            }
            if !removed {
                return Ok(());
            }
        }
    }

    /// Holds all that an image has, and returns it as it is then: what was looked up before may have been removed, or be
    /// kept in another form.
    ///
    /// # Errors
    /// `NotFound` when it was removed meanwhile.
    pub(super) fn hold_image(&self, lease: &Lease, image: &Arc<Image>) -> Result<Arc<Image>> {
        let mut image = Arc::clone(image);
        loop {
            image.blobs().for_each(|digest| lease.hold(digest));
            image.chains().iter().for_each(|chain| lease.hold(&chain.0));
            let now = self.table().now(&image)?;
            if now.layers == image.layers && now.manifest == image.manifest {
                return Ok(now);
            }
            image = now;
        }
    }

    /// Gives a lease up and removes what it held and no image took.
    pub(super) fn end_lease(&self, lease: Arc<Lease>) -> Result<()> {
        let held = lease.held();
        drop(lease);
        for digest in held.iter().rev() {
            self.drop_layer(&ChainId(digest.clone()))?;
            self.drop_blob(digest)?;
        }
        Ok(())
    }
}
