//! Finding and describing images.

use super::{Image, Images};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use wharf_model::{Error, Result};
use wharf_oci::digest::Digest;
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// One image of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The image.
    pub image: Arc<Image>,
    /// Its names with tags.
    pub tags: Vec<Reference>,
    /// Its names with manifest digests.
    pub digests: Vec<Reference>,
    /// Whether another image was built on it by one step.
    pub has_children: bool,
}

/// All there is to say about one image.
pub type Details = Listed;

/// One line of an image's history, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image of this step, when it is here.
    pub id: Option<Digest>,
    /// When, RFC 3339.
    pub created: Option<String>,
    /// By what.
    pub created_by: String,
    /// The names of the image of this step.
    pub tags: Vec<Reference>,
    /// Bytes of the files of its layer.
    pub size: u64,
    /// A note.
    pub comment: String,
}

impl Images {
    /// Finds an image by name, `sha256:` id or the beginning of an id. A name wins over an id.
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>> {
        let table = self.table();
        let absent = || Error::not_found(format!("No such image: {}", whole(name)));
        if let Ok(reference) = name.parse::<Reference>() {
            let reference = reference.or_latest();
            // `name:tag@digest` means the digest.
            let by_digest = reference.digest().map(|d| reference.with_digest(d.clone()));
            if let Some(id) = table.names.get(by_digest.as_ref().unwrap_or(&reference)) {
                return table.images.get(id).cloned().ok_or_else(absent);
            }
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(absent());
        }
        let mut found = table.images.values().filter(|image| image.id.hex().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(image), None) => Ok(Arc::clone(image)),
            (Some(_), Some(_)) => {
                Err(Error::invalid(format!("{name} is the beginning of several image ids: give more of it")))
            }
            _ => Err(absent()),
        }
    }

    /// The same, of an image that serves these platforms: `NotFound` as well when it does not.
    pub fn resolve_for(&self, name: &str, platforms: &[Platform]) -> Result<Arc<Image>> {
        let image = self.resolve(name)?;
        let offered = &image.config.platform;
        for wanted in platforms.iter().filter(|_| !offered.os.is_empty()) {
            if wanted.rank(offered).is_none() {
                return Err(Error::not_found(format!(
                    "image with reference {name} was found but its platform ({offered}) does not match the specified \
                     platform ({wanted})"
                )));
            }
        }
        Ok(image)
    }

    /// All that is on the disk for images, in bytes, by names. A layer's tar and a blob of the same digest are one file.
    pub(super) fn stored(&self) -> Result<HashMap<String, u64>> {
        let mut sizes = HashMap::new();
        for layer in self.snapshots.layers()? {
            if let Some(tar) = layer.tar {
                sizes.insert(format!("blob {}", layer.diff_id), tar);
            }
            sizes.insert(layer.chain_id.to_string(), layer.own);
        }
        sizes.extend(self.blobs.list()?.into_iter().map(|(digest, size)| (format!("blob {digest}"), size)));
        Ok(sizes)
    }

    /// What each image takes of the disk: its layers and its blobs, by names that images which share them share.
    pub fn pieces(&self) -> Result<HashMap<Digest, BTreeMap<String, u64>>> {
        let sizes = self.stored()?;
        let of = |image: &Arc<Image>| {
            let layers = image.chains().into_iter().map(|chain| chain.to_string());
            let tars = image.layers.iter().map(|layer| format!("blob {}", layer.diff_id));
            let blobs = image.blobs().map(|digest| format!("blob {digest}"));
            let names: BTreeSet<String> = layers.chain(tars).chain(blobs).collect();
            let pieces = names.into_iter().filter_map(|name| sizes.get(&name).map(|size| (name, *size)));
            (image.id.clone(), pieces.collect())
        };
        Ok(self.table().images.values().map(of).collect())
    }

    /// Bytes that each image takes of the disk, and those of them that other images have too.
    pub fn usage(&self) -> Result<HashMap<Digest, (u64, u64)>> {
        let pieces = self.pieces()?;
        let mut users: HashMap<&str, usize> = HashMap::new();
        for name in pieces.values().flat_map(BTreeMap::keys) {
            *users.entry(name).or_default() += 1;
        }
        let of = |pieces: &BTreeMap<String, u64>| {
            let shared = pieces.iter().filter(|(name, _)| users[name.as_str()] > 1).map(|(_, size)| size);
            (pieces.values().sum(), shared.sum())
        };
        Ok(pieces.iter().map(|(id, pieces)| (id.clone(), of(pieces))).collect())
    }

    /// Every image, the newest first.
    pub fn list(&self) -> Vec<Listed> {
        let table = self.table();
        let describe = |image: &Arc<Image>| {
            let (tags, digests) = table.names_of(&image.id);
            let has_children = table.images.values().any(|other| other.parent.as_ref() == Some(&image.id));
            Listed { image: Arc::clone(image), tags, digests, has_children }
        };
        let mut all: Vec<Listed> = table.images.values().map(describe).collect();
        all.sort_by(|a, b| b.image.config.created.cmp(&a.image.config.created));
        all
    }

    /// One image with its names.
    pub fn inspect(&self, name: &str) -> Result<Details> {
        let image = self.resolve(name)?;
        let table = self.table();
        let (tags, digests) = table.names_of(&image.id);
        let has_children = table.images.values().any(|other| other.parent.as_ref() == Some(&image.id));
        Ok(Details { image, tags, digests, has_children })
    }

    /// How an image came to be, the newest step first.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryLine>> {
        let image = self.resolve(name)?;
        let chains = image.chains();
        let mut next_layer = 0;
        let mut lines = Vec::new();
        for step in &image.config.history {
            let size = match step.empty_layer {
                true => 0,
                false => {
                    next_layer += 1;
                    match chains.get(next_layer - 1) {
                        Some(chain) => self.snapshots.layer(chain)?.map_or(0, |layer| layer.size),
                        None => 0,
                    }
                }
            };
            lines.push(HistoryLine {
                id: None,
                created: step.created.clone(),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size,
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        let table = self.table();
        let mut at = Some(&image);
        for line in lines.iter_mut().rev() {
            let Some(image) = at else { break };
            line.id = Some(image.id.clone());
            line.tags = table.names_of(&image.id).0;
            at = image.parent.as_ref().and_then(|parent| table.images.get(parent));
        }
        lines.reverse();
        Ok(lines)
    }
}

/// A name with the tag that is meant where none is given; an id stays what it is.
fn whole(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) if !name.starts_with("sha256:") => reference.or_latest().familiar(),
        _ => name.to_owned(),
    }
}
