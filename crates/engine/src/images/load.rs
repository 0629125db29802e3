//! `docker load`: archives of `docker save`, old and new, and OCI layouts.

use super::compress::{Counting, unwrap};
use super::lease::Lease;
use super::progress::{Event, Progress};
use super::record::{Image, ImageLayer};
use super::unpack::check_count;
use super::{Images, blocking, io, transfer};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::sync::Arc;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::{Compression, Descriptor, Document, Index, media};
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;
use wharf_oci::tar::{Kind, Reader, TarError};

/// Bytes a document in an archive may have; what is larger is a layer.
const MAX_DOCUMENT: u64 = 8 << 20;
/// Links in an archive that may follow each other.
const MAX_LINKS: usize = 8;
/// Bytes read from the archive at once.
const CHUNK: usize = 1 << 17;

/// The annotation that names an image in an index (OCI image specification, annotations.md).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the whole name, as containerd and Docker write it.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// The files of an archive: all are blobs by now.
struct Archive {
    files: BTreeMap<String, Descriptor>,
    links: BTreeMap<String, String>,
}

/// One image found in an archive.
struct Found {
    config: Vec<u8>,
    layers: Vec<Descriptor>,
    manifest: Option<Descriptor>,
    names: Vec<Reference>,
}

impl Images {
    /// Loads every image of an archive, which may itself be compressed; with `platform` only those that serve it. Returns
    /// them in the archive's order.
    pub async fn load(
        &self,
        archive: impl Read + Send + 'static,
        platform: Option<Platform>,
        progress: Progress,
    ) -> Result<Vec<Arc<Image>>> {
        let lease = Arc::new(Lease::new(&self.leases));
        let result = self.load_into(&lease, archive, platform, &progress).await;
        let images = self.clone();
        let cleaned = blocking(move || images.end_lease(lease)).await;
        let loaded = result?;
        cleaned?;
        loaded.iter().for_each(|image| self.drop_compressed_later(image));
        Ok(loaded)
    }

    async fn load_into(
        &self,
        lease: &Arc<Lease>,
        archive: impl Read + Send + 'static,
        platform: Option<Platform>,
        progress: &Progress,
    ) -> Result<Vec<Arc<Image>>> {
        let (images, held) = (self.clone(), Arc::clone(lease));
        let found = transfer(move || {
            let archive = images.read_archive(&held, archive)?;
            images.find_images(&archive, platform.as_ref())
        });
        let mut loaded = Vec::new();
        for found in found.await? {
            let config: ImageConfig = serde_json::from_slice(&found.config).map_err(|e| {
                Error::wrap(ErrorKind::Invalid, "read an image's configuration in the archive", e)
            })?;
            check_count(config.rootfs.diff_ids.len(), found.layers.len())?;
            let pairs = config.rootfs.diff_ids.into_iter().zip(found.layers);
            let layers: Vec<ImageLayer> =
                pairs.map(|(diff_id, blob)| ImageLayer { diff_id, blob, compressed: None }).collect();
            self.unpack_blobs(lease, &layers).await?;
            let image = self.record(lease, found.config, layers, found.manifest, None, &found.names).await?;
            for name in &found.names {
                progress(Event::Loaded { reference: Some(name.familiar()), id: image.id.clone() });
            }
            if found.names.is_empty() {
                progress(Event::Loaded { reference: None, id: image.id.clone() });
            }
            loaded.push(image);
        }
        Ok(loaded)
    }

    /// One pass over the archive: every file becomes a blob, held by the lease.
    fn read_archive(&self, lease: &Lease, archive: impl Read + Send + 'static) -> Result<Archive> {
        let (_, stream) = unwrap(archive).map_err(io("read the archive"))?;
        let mut reader = Reader::new(BufReader::with_capacity(CHUNK, stream));
        let mut archive = Archive { files: BTreeMap::new(), links: BTreeMap::new() };
        let attempt = super::tag::now_ns();
        while let Some(entry) = reader.next_entry().map_err(unreadable)? {
            let path = clean(&entry.path);
            match entry.kind {
                Kind::File => {
                    // A name of its own: two archives may be loaded at once.
                    let mut ingest = self.blobs.ingest(&format!("load-{attempt}-{path}"))?;
                    ingest.restart()?;
                    let mut out = Counting::new(&mut ingest);
                    let copied = std::io::copy(&mut reader, &mut out);
                    let (_, digest, size) = out.finish();
                    copied.map_err(super::uncopied(format!("read {path:?} of the archive")))?;
                    lease.hold(&digest);
                    ingest.commit(Some(&digest))?;
                    archive.files.insert(path, Descriptor::new("", digest, size));
                }
                Kind::Symlink => {
                    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                    let target = [parent.as_bytes(), b"/", &entry.link].concat();
                    archive.links.insert(path, clean(&target));
                }
                Kind::HardLink => {
                    archive.links.insert(path, clean(&entry.link));
                }
                _ => {}
            }
        }
        reader.drain().map_err(unreadable)?;
        Ok(archive)
    }

    fn document(&self, archive: &Archive, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = archive.find(path) else { return Ok(None) };
        self.small(file, path).map(Some)
    }

    fn small(&self, file: &Descriptor, shown: &str) -> Result<Vec<u8>> {
        if file.size > MAX_DOCUMENT {
            return Err(Error::invalid(format!(
                "{shown} of the archive has {} bytes: too many for a document",
                file.size
            )));
        }
        let mut bytes = Vec::new();
        self.blobs
            .open(&file.digest)?
            .read_to_end(&mut bytes)
            .map_err(io("read a document of the archive"))?;
        Ok(bytes)
    }

    fn find_images(&self, archive: &Archive, platform: Option<&Platform>) -> Result<Vec<Found>> {
        // Docker's own list wins: it has the names, and Docker writes it for both forms.
        if let Some(list) = self.document(archive, "manifest.json")? {
            let items: Vec<Item> = serde_json::from_slice(&list)
                .map_err(|e| Error::wrap(ErrorKind::Invalid, "read manifest.json of the archive", e))?;
            let found = items.into_iter().map(|item| self.docker_image(archive, item));
            return only_for(platform, found.collect::<Result<_>>()?);
        }
        match self.document(archive, "index.json")? {
            Some(index) => only_for(platform, self.oci_images(archive, &index, platform)?),
            None => Err(Error::invalid(
                "the archive has neither manifest.json nor index.json: it is no image archive \
                 (for a file tree use import)",
            )),
        }
    }

    fn docker_image(&self, archive: &Archive, item: Item) -> Result<Found> {
        let missing =
            |path: &str| Error::invalid(format!("manifest.json names {path:?}, which is not in the archive"));
        let config = self.document(archive, &item.config)?.ok_or_else(|| missing(&item.config))?;
        let mut layers = Vec::new();
        for path in &item.layers {
            let file = archive.find(path).ok_or_else(|| missing(path))?;
            layers.push(self.with_media_type(file)?);
        }
        let names = item.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| parse_name(name)).collect::<Result<_>>()?;
        Ok(Found { config, layers, manifest: None, names })
    }

    fn with_media_type(&self, file: &Descriptor) -> Result<Descriptor> {
        let mut start = Vec::new();
        self.blobs.open(&file.digest)?.take(6).read_to_end(&mut start).map_err(io("read a layer"))?;
        let media_type = Compression::detect(&start).layer_media_type();
        Ok(Descriptor::new(media_type, file.digest.clone(), file.size))
    }

    fn oci_images(&self, archive: &Archive, index: &[u8], platform: Option<&Platform>) -> Result<Vec<Found>> {
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        let Document::Index(index) = parse(index, Some(media::OCI_INDEX))? else {
            return Err(Error::invalid("index.json of the archive is no index"));
        };
        let mut found = Vec::new();
        for entry in &index.manifests {
            let name = entry.annotations.get(IMAGE_NAME).or_else(|| entry.annotations.get(REF_NAME));
            // A bare tag without its repository names nothing.
            let name = name.and_then(|name| name.parse::<Reference>().ok()).map(Reference::or_latest);
            if let Some(image) = self.oci_image(archive, entry, name.into_iter().collect(), &wanted)? {
                found.push(image);
            }
        }
        if found.is_empty() {
            return Err(Error::invalid(format!("the archive has no image for {wanted}")));
        }
        Ok(found)
    }

    /// `None` for what cannot be run: attestations and other artifacts.
    fn oci_image(
        &self,
        archive: &Archive,
        entry: &Descriptor,
        names: Vec<Reference>,
        wanted: &Platform,
    ) -> Result<Option<Found>> {
        let blob = |digest: &Digest| {
            let file = archive.find(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()));
            // The name alone says nothing: the content decides.
            file.filter(|file| file.digest == *digest)
        };
        let missing = |digest: &Digest| {
            Error::invalid(format!("the archive names the blob {digest}, which is not in it"))
        };
        let file = blob(&entry.digest).ok_or_else(|| missing(&entry.digest))?;
        let body = self.small(file, entry.digest.as_str())?;
        match parse(&body, Some(&entry.media_type))? {
            Document::Index(index) => {
                let index: &Index = &index;
                match index.choose(wanted) {
                    Some(inner) if blob(&inner.digest).is_some_and(|f| f.digest != entry.digest) => {
                        self.oci_image(archive, inner, names, wanted)
                    }
                    _ => Ok(None),
                }
            }
            Document::Manifest(manifest) if !manifest.is_image() => Ok(None),
            Document::Manifest(manifest) => {
                let config = blob(&manifest.config.digest).ok_or_else(|| missing(&manifest.config.digest))?;
                let config = self.small(config, "the configuration")?;
                for layer in &manifest.layers {
                    blob(&layer.digest).ok_or_else(|| missing(&layer.digest))?;
                }
                let descriptor =
                    Descriptor::new(entry.media_type.clone(), entry.digest.clone(), body.len() as u64);
                Ok(Some(Found { config, layers: manifest.layers.clone(), manifest: Some(descriptor), names }))
            }
        }
    }
}

/// What serves a platform, if one is asked for.
fn only_for(platform: Option<&Platform>, mut found: Vec<Found>) -> Result<Vec<Found>> {
    let Some(wanted) = platform else { return Ok(found) };
    let mut offered = Vec::new();
    found.retain(|image| {
        // A configuration that cannot be read is told of later.
        let config = serde_json::from_slice::<ImageConfig>(&image.config).unwrap_or_default();
        offered.push(config.platform.to_string());
        wanted.rank(&config.platform).is_some()
    });
    if found.is_empty() {
        let text = format!("the archive has no image for {wanted} (there are: {})", offered.join(", "));
        return Err(Error::not_found(text));
    }
    Ok(found)
}

impl Archive {
    fn find(&self, path: &str) -> Option<&Descriptor> {
        let mut path = clean(path.as_bytes());
        for _ in 0..MAX_LINKS {
            if let Some(file) = self.files.get(&path) {
                return Some(file);
            }
            path = self.links.get(&path)?.clone();
        }
        None
    }
}

/// A path in an archive without `.` and `..`: only compared with others, never opened.
fn clean(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn parse(body: &[u8], content_type: Option<&str>) -> Result<Document> {
    Document::parse(body, content_type)
        .map_err(|e| Error::wrap(ErrorKind::Invalid, "read a manifest of the archive", e))
}

fn parse_name(name: &str) -> Result<Reference> {
    let reference: Reference = name.parse().map_err(|e| {
        Error::wrap(ErrorKind::Invalid, format!("read the image name {name:?} of the archive"), e)
    })?;
    Ok(reference.or_latest())
}

fn unreadable(error: TarError) -> Error {
    Error::wrap(ErrorKind::Invalid, "read the archive", error)
}
