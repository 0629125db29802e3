//! Documents of registries, images and builds.

use std::io::Read;
use wharf_oci::image_config::ImageConfig;
use wharf_oci::manifest::Document;
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;
use wharf_oci::runtime_spec::Seccomp;

pub(crate) fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(reference) = text.parse::<Reference>() else { return };
    // What was understood is understood again, and means the same.
    let again: Reference = reference.to_string().parse().expect("a written reference can be read");
    assert_eq!(again, reference);
    let _ = (reference.familiar(), reference.repository());
}

pub(crate) fn manifest(data: &[u8]) {
    let Ok(document) = Document::parse(data, None) else { return };
    let _ = (document.media_type().len(), document.subject().is_some());
    if let Document::Index(index) = &document {
        let _ = (index.choose(&Platform::host()), index.offered());
    }
}

pub(crate) fn image_config(data: &[u8]) {
    let Ok(config) = serde_json::from_slice::<ImageConfig>(data) else { return };
    let written = serde_json::to_vec(&config).expect("a configuration can be written");
    serde_json::from_slice::<ImageConfig>(&written).expect("a written configuration can be read");
}

pub(crate) fn dockerfile(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = wharf_build::dockerfile::Dockerfile::parse(&text);
    let _ = wharf_build::dockerfile::Dockerfile::parse_trigger(&text);
}

pub(crate) fn dockerignore(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (patterns, path) = text.split_once('\0').unwrap_or((&text, "a/b/c.txt"));
    let _ = wharf_build::ignore::Ignore::parse(patterns).excludes(path);
}

pub(crate) fn seccomp(data: &[u8]) {
    if let Ok(profile) = serde_json::from_slice::<Seccomp>(data) {
        let _ = wharf_runtime::bundle::compile(&profile);
    }
}

pub(crate) fn tar(data: &[u8]) {
    let mut reader = wharf_oci::tar::Reader::new(data);
    // Each entry takes a block at least.
    for _ in 0..=data.len() / wharf_oci::tar::BLOCK {
        match reader.next_entry() {
            Ok(Some(_)) => {
                // Content is not longer than what is there.
                let read =
                    std::io::copy(&mut (&mut reader).take(data.len() as u64 + 1), &mut std::io::sink());
                assert!(read.is_err() || read.is_ok_and(|n| n <= data.len() as u64));
            }
            _ => return,
        }
    }
}
