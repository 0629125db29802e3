//! Images as other tools make them: nested indexes, SHA-512, zstd, annotations, artifacts.

use super::*;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{Seek, Write};
use wharf_distribution::client::Repository;
use wharf_oci::manifest::media;

/// Puts a blob where the registry has it.
async fn put(repository: &Repository, digest: &Digest, content: &[u8]) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    repository.upload(digest, content.len() as u64, &file, Arc::new(|_| {})).await.unwrap();
}

fn described(kind: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": kind, "digest": digest.as_str(), "size": size})
}

/// An image of one layer, by its manifest.
async fn image(repository: &Repository, layer: (&str, &[u8], Digest), diff_id: &Digest) -> Bytes {
    let (kind, content, digest) = layer;
    let config = json!({"architecture": std::env::consts::ARCH, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id.as_str()]}});
    let config = Bytes::from(config.to_string().replace("x86_64", "amd64"));
    let config_digest = repository.upload_bytes(&config).await.unwrap();
    put(repository, &digest, content).await;
    let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": described(media::OCI_CONFIG, &config_digest, config.len()),
        "layers": [described(kind, &digest, content.len())],
        "annotations": {"org.example.note": "kept"}});
    manifest.to_string().into()
}

async fn place(registry: &Registry) -> (Repository, Reference) {
    let name = name(&format!("{}/a:1", registry.address));
    (engine().images.client().repository(&name, Credentials::Anonymous), name)
}

#[tokio::test]
async fn indexes_within_indexes() {
    let registry = registry().await;
    let (repository, name) = place(&registry).await;
    let (diff_id, tar) = tar(&[file("etc/a", "1")]);
    let packed = zstd::encode_all(&tar[..], 3).unwrap();
    let layer = (media::OCI_LAYER_ZSTD, &packed[..], Digest::sha512(&packed));
    let manifest = image(&repository, layer, &diff_id.0).await;
    let mut inner = repository
        .put_manifest(Digest::sha256(&manifest).as_str(), media::OCI_MANIFEST, manifest.clone())
        .await
        .unwrap();
    let (mut kind, mut size) = (media::OCI_MANIFEST, manifest.len());
    for depth in 0..6 {
        let mut entry = described(kind, &inner, size);
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [entry]});
        let index = Bytes::from(index.to_string());
        let digest = Digest::sha256(&index);
        repository.put_manifest(digest.as_str(), media::OCI_INDEX, index.clone()).await.unwrap();
        (inner, kind, size) = (digest, media::OCI_INDEX, index.len());
        let engine = engine();
        let wanted = name.with_digest(inner.clone());
        let platform = "linux/amd64".parse().unwrap();
        let pulled = engine.images.pull(&wanted, Some(&platform), Credentials::Anonymous, quiet()).await;
        if depth < 4 {
            let pulled = pulled.unwrap();
            assert_eq!(engine.content(&pulled, "/etc/a"), "1");
            // The manifest is kept as it is, with its notes.
            let mut kept = String::new();
            let kept_as = pulled.manifest.as_ref().unwrap();
            engine.blobs.open(&kept_as.digest).unwrap().read_to_string(&mut kept).unwrap();
            assert_eq!(kept.as_bytes(), &manifest[..]);
            assert_eq!(pulled.layers[0].blob.digest.algorithm(), "sha512");
        } else {
            let said = pulled.unwrap_err().full();
            assert!(said.contains("more than 4 indexes"), "{said}");
            assert!(engine.is_empty());
        }
    }
    registry.stop().await;
}

#[tokio::test]
async fn what_is_no_image_is_refused_by_name() {
    let registry = registry().await;
    let (repository, name) = place(&registry).await;
    let empty = repository.upload_bytes(&Bytes::from_static(b"{}")).await.unwrap();
    let chart = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "artifactType": "application/vnd.example.chart", "config": described(media::OCI_EMPTY, &empty, 2),
        "layers": [described("application/x-chart", &empty, 2)]});
    repository.put_manifest("1", media::OCI_MANIFEST, chart.to_string().into()).await.unwrap();
    let engine = engine();
    let pulled = engine.images.pull(&name, None, Credentials::Anonymous, quiet()).await;
    let error = pulled.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.full().contains("application/vnd.example.chart"), "{}", error.full());
    assert!(engine.is_empty());
    registry.stop().await;
}

#[tokio::test]
async fn copies_are_the_same() {
    let (one, two) = (registry().await, registry().await);
    let (repository, name) = place(&one).await;
    let (diff_id, tar) = tar(&[file("etc/a", "1")]);
    let layer = (media::OCI_LAYER, &tar[..], Digest::sha256(&tar));
    let manifest = image(&repository, layer, &diff_id.0).await;
    let digest = repository.put_manifest("1", media::OCI_MANIFEST, manifest).await.unwrap();
    let engine = engine();
    let to = super::name(&format!("{}/b/c:2", two.address));
    let copy = async |to: &Reference| {
        let (progress, events) = noted();
        let from = (&name, Credentials::Anonymous);
        let copied = engine.images.copy(from, (to, Credentials::Anonymous), None, progress).await;
        (copied, std::mem::take(&mut *events.lock().unwrap()))
    };
    let pushed = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Pushed { .. })).count();
    let (copied, events) = copy(&to).await;
    assert_eq!((copied.unwrap(), pushed(&events)), (digest.clone(), 2));
    let (copied, events) = copy(&to).await;
    assert_eq!((copied.unwrap(), pushed(&events)), (digest, 0), "what is there is not sent");
    assert!(engine.is_empty(), "nothing of it stays here");
    engine.images.pull(&to, None, Credentials::Anonymous, quiet()).await.unwrap();
    let wrong = to.with_digest(Digest::sha256(b"other"));
    assert_eq!(copy(&wrong).await.0.unwrap_err().kind(), ErrorKind::Invalid);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_compressed_layer_that_is_called_plain_is_not_compressed_again() {
    let (here, registry) = (engine(), registry().await);
    let target = |name: &str| format!("{}/{name}:1", registry.address);
    here.import(&target("app"), &[("a", "1")]).await;
    let anonymous = || Credentials::Anonymous;
    here.images.push(&name(&target("app")), anonymous(), quiet()).await.unwrap();
    let there = engine();
    let image = there.images.pull(&name(&target("app")), None, anonymous(), quiet()).await.unwrap();
    let mut lying = Image { manifest: None, ..(*image).clone() };
    lying.layers[0].blob.media_type = media::OCI_LAYER.to_owned();
    there.images.table().put(&*there.images.records, lying, &[name(&target("other"))]).unwrap();
    there.images.push(&name(&target("other")), anonymous(), quiet()).await.unwrap();
    let third = engine();
    let image = third.images.pull(&name(&target("other")), None, anonymous(), quiet()).await.unwrap();
    assert_eq!(third.content(&image, "/a"), "1");
    registry.stop().await;
}
