//! Whether images are kept as they were stored: every configuration, manifest, blob and layer is read and compared with
//! its digest. What is damaged is mended from what else is here, or fetched again; see `mend`.

mod mend;

#[cfg(test)]
mod tests;

use super::lease::Lease;
use super::{Image, Images, blocking, io};
use std::collections::BTreeSet;
use std::sync::Arc;
use wharf_distribution::client::Credentials;
use wharf_model::snapshots::Condition;
use wharf_model::{ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest};
use wharf_oci::reference::Reference;

/// What something is to the images it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// An image's configuration.
    Configuration,
    /// The manifest it came with.
    Manifest,
    /// A layer as a registry has it, or its plain tar.
    Blob,
    /// A layer as containers see it, named by its chain id.
    Layer,
}

impl Object {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Manifest => "manifest",
            Self::Blob => "blob",
            Self::Layer => "layer",
        }
    }
}

/// How something was found, or what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is damaged.
    Damaged,
    /// It was damaged, and is not any more.
    Mended,
    /// It is damaged, and could not be mended; the text says why.
    Lost(String),
}

/// Something that is not as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub object: Object,
    /// Its name.
    pub digest: Digest,
    /// The image it was found with, by a name that people know it by; empty when no image has it.
    pub image: String,
    /// What is wrong with it.
    pub damage: String,
    /// What became of it.
    pub state: State,
}

/// What a check looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Images.
    pub images: u64,
    /// Configurations, manifests, blobs and layers, each once.
    pub objects: u64,
    /// Bytes that were read of blobs and tars.
    pub bytes: u64,
    /// Layers whose files are there, but that nothing tells anything of: unpacked ones.
    pub unverifiable: u64,
    /// Things that were found damaged.
    pub damaged: u64,
    /// Of these, those that were mended.
    pub mended: u64,
}

/// Tells what to log in to a registry with.
pub type LogIn = Arc<dyn Fn(&Reference) -> Credentials + Send + Sync>;

/// Something damaged of one image.
#[derive(Debug, Clone)]
struct Fault {
    part: Part,
    damage: String,
}

/// What an image has; layers by their number from the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Configuration,
    Manifest,
    Blob(usize),
    Layer(usize),
}

impl Part {
    fn object(self) -> Object {
        match self {
            Self::Configuration => Object::Configuration,
            Self::Manifest => Object::Manifest,
            Self::Blob(_) => Object::Blob,
            Self::Layer(_) => Object::Layer,
        }
    }

    fn digest(self, image: &Image) -> Digest {
        match self {
            Self::Configuration => image.id.clone(),
            Self::Manifest => image.manifest.as_ref().map_or_else(|| image.id.clone(), |m| m.digest.clone()),
            Self::Blob(at) => image.layers[at].blob.digest.clone(),
            Self::Layer(at) => image.chains().swap_remove(at).0,
        }
    }
}

/// What was looked at, so that it is looked at once.
#[derive(Default)]
struct Seen {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<ChainId>,
    total: Checked,
}

impl Images {
    /// Checks these images, or all of them and every layer that is left of others, while nothing of them can be
    /// removed. With `repair` what is damaged is mended. `tell` hears of each thing once.
    ///
    /// # Errors
    /// `NotFound` for a name that no image has. Damage is no error.
    pub async fn check(
        &self,
        names: &[String],
        repair: Option<LogIn>,
        tell: impl Fn(Finding) + Send,
    ) -> Result<Checked> {
        let mut images = Vec::new();
        for name in names {
            images.push(self.resolve(name)?);
        }
        if names.is_empty() {
            images = self.table().images.values().cloned().collect();
        }
        let mut seen = Seen::default();
        for image in &images {
            self.check_image(&mut seen, image, repair.as_ref(), &tell).await?;
        }
        if names.is_empty() {
            self.check_leftovers(&mut seen, repair.is_some(), &tell).await?;
        }
        Ok(seen.total)
    }

    async fn check_image(
        &self,
        seen: &mut Seen,
        image: &Arc<Image>,
        repair: Option<&LogIn>,
        tell: &(impl Fn(Finding) + Send),
    ) -> Result<()> {
        let lease = Arc::new(Lease::new(&self.leases));
        let image = match self.hold_image(&lease, image) {
            // Removed since the check began: nothing of it is missing.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let images = self.clone();
                return blocking(move || images.end_lease(lease)).await;
            }
            image => &image?,
        };
        let (images, looked_at, mut taken) = (self.clone(), Arc::clone(image), std::mem::take(seen));
        let working = lease.at_work().await;
        let looked = blocking(move || {
            let _working = working;
            let faults = images.look(&mut taken, &looked_at);
            Ok((taken, faults))
        });
        let (taken, faults) = looked.await?;
        *seen = taken;
        seen.total.images += 1;
        let name = self.called(image);
        for fault in faults? {
            let state = match repair {
                None => State::Damaged,
                Some(log_in) => match self.mend(&lease, image, fault.part, log_in).await {
                    Ok(()) => State::Mended,
                    // Removed meanwhile, with what tells where it came from: nobody has lost anything.
                    Err(_) if self.table().now(image).is_err() => break,
                    Err(error) => State::Lost(error.full()),
                },
            };
            seen.total.damaged += 1;
            seen.total.mended += u64::from(state == State::Mended);
            tell(finding(image, &name, fault, state));
        }
        lease.idle().await;
        let images = self.clone();
        blocking(move || images.end_lease(lease)).await
    }

    /// A name of an image, or its id.
    fn called(&self, image: &Image) -> String {
        let (tags, digests) = self.table().names_of(&image.id);
        tags.first().or(digests.first()).map_or_else(|| image.id.to_string(), Reference::familiar)
    }

    /// Looks at everything of an image that was not looked at yet.
    fn look(&self, seen: &mut Seen, image: &Image) -> Result<Vec<Fault>> {
        let mut parts = vec![(Part::Configuration, image.id.clone())];
        parts.extend(image.manifest.as_ref().map(|manifest| (Part::Manifest, manifest.digest.clone())));
        let blobs = image.layers.iter().enumerate();
        parts.extend(blobs.map(|(at, layer)| (Part::Blob(at), layer.blob.digest.clone())));
        let mut faults = Vec::new();
        for (part, digest) in parts {
            if seen.blobs.insert(digest.clone()) {
                seen.total.objects += 1;
                let damage = self.damage_of_blob(&digest, &mut seen.total)?;
                faults.extend(damage.map(|damage| Fault { part, damage }));
            }
        }
        for (at, chain) in image.chains().into_iter().enumerate() {
            if seen.layers.insert(chain.clone()) {
                let damage = self.damage_of_layer(&chain, &mut seen.total)?;
                faults.extend(damage.map(|damage| Fault { part: Part::Layer(at), damage }));
            }
        }
        Ok(faults)
    }

    fn damage_of_blob(&self, digest: &Digest, total: &mut Checked) -> Result<Option<String>> {
        let file = match self.blobs.open(digest) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some("it is gone".to_owned())),
            file => file?,
        };
        total.bytes += file.metadata().map_err(io("read a blob"))?.len();
        Ok(match Digest::of_stream(file, digest) {
            Ok(real) if real == *digest => None,
            Ok(real) => Some(format!("its content has the digest {real}")),
            Err(e) => Some(format!("it cannot be read: {e}")),
        })
    }

    fn damage_of_layer(&self, chain: &ChainId, total: &mut Checked) -> Result<Option<String>> {
        total.objects += 1;
        let Some(layer) = self.snapshots.layer(chain)? else {
            return Ok(Some("it is gone".to_owned()));
        };
        total.bytes += layer.tar.unwrap_or_default();
        Ok(match self.snapshots.check(chain)? {
            Condition::Sound => None,
            Condition::Unverifiable => {
                total.unverifiable += 1;
                None
            }
            Condition::Derived(damage) | Condition::Content(damage) => Some(damage),
        })
    }

    /// Layers that no image has any more, but that containers stand on.
    async fn check_leftovers(
        &self,
        seen: &mut Seen,
        repair: bool,
        tell: &(impl Fn(Finding) + Send),
    ) -> Result<()> {
        let images = self.clone();
        let known = seen.layers.clone();
        let looked = blocking(move || {
            let (mut total, mut found) = (Checked::default(), Vec::new());
            for layer in images.snapshots.layers()? {
                if known.contains(&layer.chain_id) {
                    continue;
                }
                if let Some(damage) = images.damage_of_layer(&layer.chain_id, &mut total)? {
                    let mended = repair && images.snapshots.mend(&layer.chain_id, None).is_ok();
                    let sound =
                        mended && images.damage_of_layer(&layer.chain_id, &mut Checked::default())?.is_none();
                    found.push((layer.chain_id, damage, sound));
                }
            }
            Ok((total, found))
        });
        let (total, found) = looked.await?;
        seen.total.objects += total.objects;
        seen.total.bytes += total.bytes;
        seen.total.unverifiable += total.unverifiable;
        for (chain, damage, mended) in found {
            seen.total.damaged += 1;
            seen.total.mended += u64::from(mended);
            let state = match (repair, mended) {
                (false, _) => State::Damaged,
                (true, true) => State::Mended,
                (true, false) => State::Lost(
                    "no image has it any more, so nothing tells where to fetch it from".to_owned(),
                ),
            };
            tell(Finding { object: Object::Layer, digest: chain.0, image: String::new(), damage, state });
        }
        Ok(())
    }
}

fn finding(image: &Image, name: &str, fault: Fault, state: State) -> Finding {
    Finding {
        object: fault.part.object(),
        digest: fault.part.digest(image),
        image: name.to_owned(),
        damage: fault.damage,
        state,
    }
}
