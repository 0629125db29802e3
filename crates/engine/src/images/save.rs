//! `docker save`: one archive that is an OCI layout and has Docker's list, too.

use super::lease::Lease;
use super::load::{IMAGE_NAME, REF_NAME};
use super::record::Image;
use super::{Images, io};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Manifest, media};
use wharf_oci::reference::Reference;
use wharf_oci::tar::{Entry, Kind, TarError, Writer};

impl Images {
    /// Writes images to a tar. A name that is an id is saved without a name; a repository without a tag means
    /// all its tags. Blocks.
    pub fn save(&self, names: &[String], out: impl Write) -> Result<()> {
        // What is being written is not removed meanwhile.
        let lease = Arc::new(Lease::new(&self.leases));
        let saved = self.save_held(&lease, names, out);
        self.end_lease(lease)?;
        saved
    }

    /// Writes one image to a tar under names that it need not have here. Blocks.
    pub fn save_as(&self, image: &Arc<Image>, names: Vec<Reference>, out: impl Write) -> Result<()> {
        let lease = Arc::new(Lease::new(&self.leases));
        let held = self.hold_image(&lease, image);
        let saved = held.and_then(|image| self.write_archive(&[(image, names)], out));
        self.end_lease(lease)?;
        saved
    }

    fn save_held(&self, lease: &Lease, names: &[String], out: impl Write) -> Result<()> {
        let mut images: Vec<(Arc<Image>, Vec<Reference>)> = Vec::new();
        for name in names {
            for (image, reference) in self.selected(name)? {
                let image = self.hold_image(lease, &image).map_err(|e| match e.kind() {
                    ErrorKind::NotFound => Error::not_found(format!("No such image: {name}")),
                    _ => e,
                })?;
                let at = images.iter().position(|(known, _)| known.id == image.id);
                let at = at.unwrap_or_else(|| {
                    images.push((image, Vec::new()));
                    images.len() - 1
                });
                images[at].1.extend(reference);
            }
        }
        self.write_archive(&images, out)
    }

    fn write_archive(&self, images: &[(Arc<Image>, Vec<Reference>)], out: impl Write) -> Result<()> {
        let mut archive = Archive { writer: Writer::new(out), written: BTreeSet::new() };
        archive.directory("blobs")?;
        archive.directory("blobs/sha256")?;
        let (mut list, mut index) = (Vec::new(), Vec::new());
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (image, names) in images {
            let manifest = self.save_image(&mut archive, image)?;
            list.push(json!({
                "Config": blob_path(&image.id),
                "RepoTags": names.iter().map(Reference::familiar).collect::<Vec<_>>(),
                "Layers": image.layers.iter().map(|l| blob_path(&l.blob.digest)).collect::<Vec<_>>(),
            }));
            for name in names {
                let tag = name.tag().unwrap_or_default().to_owned();
                let annotations = BTreeMap::from([
                    (IMAGE_NAME.to_owned(), name.to_string()),
                    (REF_NAME.to_owned(), tag.clone()),
                ]);
                index.push(Descriptor { annotations, ..manifest.clone() });
                let top = image.layers.last().map(|l| l.blob.digest.hex().to_owned()).unwrap_or_default();
                repositories.entry(name.familiar_name()).or_default().insert(tag, top);
            }
            if names.is_empty() {
                index.push(manifest);
            }
        }
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": index});
        archive.document("index.json", index.to_string().as_bytes())?;
        archive.document("manifest.json", json!(list).to_string().as_bytes())?;
        archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !repositories.is_empty() {
            archive.document("repositories", json!(repositories).to_string().as_bytes())?;
        }
        archive.writer.finish().map_err(unwritten)?.flush().map_err(io("write the archive"))
    }

    fn selected(&self, name: &str) -> Result<Vec<(Arc<Image>, Option<Reference>)>> {
        if let Ok(reference) = name.parse::<Reference>() {
            if reference.tag().is_none() && reference.digest().is_none() {
                let table = self.table();
                let tags = table.names.iter().filter(|(name, _)| {
                    name.digest().is_none()
                        && name.domain() == reference.domain()
                        && name.path() == reference.path()
                });
                let found = tags
                    .filter_map(|(name, id)| Some((Arc::clone(table.images.get(id)?), Some(name.clone()))));
                let found: Vec<_> = found.collect();
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            let image = self.resolve(name)?;
            let named = self.table().names.get(&reference) == Some(&image.id);
            return Ok(vec![(image, Some(reference).filter(|r| named && r.digest().is_none()))]);
        }
        Ok(vec![(self.resolve(name)?, None)])
    }

    /// Writes an image's blobs and a manifest for them as they are kept.
    fn save_image<W: Write>(&self, archive: &mut Archive<W>, image: &Image) -> Result<Descriptor> {
        for digest in std::iter::once(&image.id).chain(image.layers.iter().map(|l| &l.blob.digest)) {
            let size =
                self.blobs.size(digest)?.ok_or_else(|| Error::not_found(format!("no blob {digest}")))?;
            archive.blob(digest, size, &mut self.blobs.open(digest)?)?;
        }
        let layers = image.layers.iter().map(|layer| {
            let media_type = layer.blob.compression().map_or(media::OCI_LAYER, |c| c.layer_media_type());
            Descriptor::new(media_type, layer.blob.digest.clone(), layer.blob.size)
        });
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(media::OCI_CONFIG, image.id.clone(), image.config_size),
            layers: layers.collect(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        let body = serde_json::to_vec(&manifest)
            .map_err(|e| Error::wrap(ErrorKind::Internal, "write a manifest", e))?;
        let digest = Digest::sha256(&body);
        archive.blob(&digest, body.len() as u64, &mut &body[..])?;
        let mut descriptor = Descriptor::new(media::OCI_MANIFEST, digest, body.len() as u64);
        descriptor.platform = Some(image.config.platform.clone()).filter(|p| !p.os.is_empty());
        Ok(descriptor)
    }
}

struct Archive<W> {
    writer: Writer<W>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Archive<W> {
    fn directory(&mut self, path: &str) -> Result<()> {
        self.writer.header(&Entry::new(Kind::Directory, path)).map_err(unwritten)
    }

    fn document(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.writer.file(&Entry::new(Kind::File, path), content).map_err(unwritten)
    }

    fn blob(&mut self, digest: &Digest, size: u64, content: &mut dyn std::io::Read) -> Result<()> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        self.writer
            .header(&Entry { size, ..Entry::new(Kind::File, blob_path(digest)) })
            .map_err(unwritten)?;
        self.writer.content(size, content).map_err(unwritten)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn unwritten(error: TarError) -> Error {
    Error::wrap(ErrorKind::Internal, "write the archive", error)
}
