//! The whole service over fakes and a real registry on a real socket.

mod remote;

use super::*;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use wharf_distribution::client::{ClientConfig, Credentials};
use wharf_distribution::server::{Config as ServerConfig, Server};
use wharf_model::blobs::fake::MemoryBlobs;
use wharf_model::records::fake::MemoryRecords;
use wharf_model::snapshots::Tree;
use wharf_model::snapshots::conformance::{file, tar};
use wharf_model::snapshots::fake::MemorySnapshots;
use wharf_oci::digest::Digest;
use wharf_oci::reference::Reference;

pub(super) struct Engine {
    pub(super) images: Images,
    records: Arc<MemoryRecords>,
    pub(super) blobs: MemoryBlobs,
    snapshots: Arc<MemorySnapshots>,
}

pub(super) fn engine() -> Engine {
    let records = Arc::new(MemoryRecords::default());
    let blobs = MemoryBlobs::default();
    let snapshots = Arc::new(MemorySnapshots::default());
    let client =
        Client::new(&ClientConfig { certs_dir: PathBuf::from("/nonexistent"), ..ClientConfig::default() })
            .unwrap();
    let images = Images::open(records.clone(), Arc::new(blobs.clone()), snapshots.clone(), client).unwrap();
    Engine { images, records, blobs, snapshots }
}

pub(super) fn quiet() -> Progress {
    Arc::new(|_| {})
}

/// Keeps the news.
fn noted() -> (Progress, Arc<Mutex<Vec<Event>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&events);
    (Arc::new(move |event| noting.lock().unwrap().push(event)), events)
}

fn unused(_: &Digest) -> Option<User> {
    None
}

pub(super) fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

impl Engine {
    pub(super) async fn import(&self, tag: &str, files: &[(&str, &str)]) -> Arc<Image> {
        let entries: Vec<_> = files.iter().map(|(path, content)| file(path, content)).collect();
        let import = Import { reference: Some(name(tag)), ..Import::default() };
        self.images.import(std::io::Cursor::new(tar(&entries).1), import).await.unwrap()
    }

    /// An image of one more layer, as commit and build make it.
    async fn extend(&self, base: &Arc<Image>, tag: &str, path: &str, content: &str) -> Arc<Image> {
        self.snapshots.prepare("step", base.chain().as_ref()).unwrap();
        let bytes = tar(&[file(path, content)]).1;
        self.snapshots.write_tar("step", "/".as_ref(), &mut &bytes[..], Default::default()).unwrap();
        let layer = self.images.commit_snapshot("step").await.unwrap();
        // A container may be removed in the middle of a build.
        self.images.collect_garbage().unwrap();
        let layers = base.layers.iter().cloned().chain([layer]).collect();
        let tags = if tag.is_empty() { vec![] } else { vec![name(tag).or_latest()] };
        let new = NewImage { config: base.config.clone(), layers, parent: Some(base.id.clone()), tags };
        self.images.create(new).await.unwrap()
    }

    fn content(&self, image: &Image, path: &str) -> String {
        let chain = image.chain().unwrap();
        let bytes = self.snapshots.read_file(Tree::Layer(&chain), path.as_ref(), 1 << 20).unwrap().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blobs.list().unwrap().is_empty() && self.snapshots.layers().unwrap().is_empty()
    }
}

pub(super) struct Registry {
    pub(super) address: String,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    blobs: MemoryBlobs,
    _dir: tempfile::TempDir,
}

pub(super) async fn registry() -> Registry {
    let dir = tempfile::tempdir().unwrap();
    let blobs = MemoryBlobs::default();
    let config = ServerConfig {
        root: dir.path().to_owned(),
        blobs: Arc::new(blobs.clone()),
        htpasswd: None,
        tls: None,
    };
    let server = Server::bind(config, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Registry { address, stop, task, blobs, _dir: dir }
}

impl Registry {
    pub(super) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn import_names_and_finds() {
    let engine = engine();
    let image = engine.import("me/app", &[("etc/a", "1")]).await;
    assert_eq!(engine.content(&image, "/etc/a"), "1");
    let images = &engine.images;
    for found in [
        "me/app",
        "me/app:latest",
        "docker.io/me/app",
        image.id.as_str(),
        image.id.hex(),
        &image.id.hex()[..5],
    ] {
        assert_eq!(images.resolve(found).unwrap().id, image.id, "{found}");
    }
    for absent in ["me/app:2", "ffffffffffff", "", "me/other"] {
        assert_eq!(images.resolve(absent).unwrap_err().kind(), ErrorKind::NotFound, "{absent}");
    }
    images.tag("me/app", &name("other:1")).unwrap();
    assert_eq!(images.inspect("other:1").unwrap().tags, [name("other:1"), name("me/app:latest")]);
    assert_eq!(images.history("other:1").unwrap()[0].size, 1);
    let again = Images::open(
        engine.records.clone(),
        Arc::new(engine.blobs.clone()),
        engine.snapshots.clone(),
        images.client().clone(),
    );
    assert_eq!(again.unwrap().resolve("other:1").unwrap().id, image.id, "records outlive the process");
    // Another image takes the name: the first stays without it.
    let second = engine.import("other:1", &[("b", "2")]).await;
    assert_eq!(images.resolve("other:1").unwrap().id, second.id);
    assert_eq!(images.list().len(), 2);
}

#[tokio::test]
async fn removing_follows_dockers_rules() {
    let engine = engine();
    let images = &engine.images;
    let base = engine.import("base", &[("a", "1")]).await;
    let child = engine.extend(&base, "child", "b", "2").await;
    images.tag("child", &name("second:1")).unwrap();
    let conflict = |name: &str, force, user: Option<bool>| {
        let in_use = move |_: &Digest| user.map(|running| User { container: "c1".into(), running });
        images.remove(name, force, &in_use).unwrap_err()
    };
    let error = conflict(base.id.as_str(), true, None);
    assert!(
        error.kind() == ErrorKind::Conflict && error.full().contains("dependent child images"),
        "{}",
        error.full()
    );
    let error = conflict(child.id.hex(), false, None);
    assert!(error.full().contains("referenced in multiple repositories"), "{}", error.full());
    assert_eq!(images.remove("second:1", false, &unused).unwrap(), [Removed::Untagged(name("second:1"))]);
    assert!(conflict("child", false, Some(false)).full().contains("must force"));
    assert!(conflict("child", true, Some(true)).full().contains("cannot be forced"));
    // The base's name goes; the image stays while its child does, and goes with it.
    assert_eq!(images.remove("base", false, &unused).unwrap(), [Removed::Untagged(name("base:latest"))]);
    assert!(images.resolve(base.id.as_str()).is_ok());
    let gone = images.remove("child", false, &unused).unwrap();
    assert_eq!(
        gone[..3],
        [
            Removed::Untagged(name("child:latest")),
            Removed::Deleted(child.id.clone()),
            Removed::Deleted(base.id.clone())
        ]
    );
    assert!(images.list().is_empty() && engine.is_empty(), "nothing is left");
}

#[tokio::test]
async fn a_layer_in_use_goes_when_it_is_free() {
    let engine = engine();
    let image = engine.import("a", &[("a", "1")]).await;
    engine.snapshots.prepare("container", image.chain().as_ref()).unwrap();
    let stopped = |_: &Digest| Some(User { container: "c".into(), running: false });
    engine.images.remove("a", true, &stopped).unwrap();
    engine.images.collect_garbage().unwrap();
    assert_eq!(engine.snapshots.layers().unwrap().len(), 1);
    engine.snapshots.remove("container").unwrap();
    engine.images.collect_garbage().unwrap();
    assert!(engine.is_empty());
}

#[tokio::test]
async fn pruning() {
    let engine = engine();
    let base = engine.import("base", &[("a", "12345")]).await;
    engine.extend(&base, "", "b", "2").await;
    let (gone, freed) = engine.images.prune(false, &|_| false, &unused).unwrap();
    assert!(gone.iter().any(|g| matches!(g, Removed::Deleted(_))) && freed > 0);
    assert_eq!(engine.images.list().len(), 1);
    engine.images.prune(true, &|_| false, &unused).unwrap();
    assert!(engine.is_empty());
}

#[tokio::test]
async fn pushed_and_pulled_elsewhere() {
    let registry = registry().await;
    let one = engine();
    let base = one.import("x", &[("a", &"1".repeat(300_000))]).await;
    let tag = format!("{}/me/app:v1", registry.address);
    let image = one.extend(&base, &tag, "b", "2").await;
    let (progress, events) = noted();
    let digest = one.images.push(&name(&tag), Credentials::Anonymous, progress).await.unwrap();
    let pushed = events.lock().unwrap().iter().filter(|e| matches!(e, Event::Pushed { .. })).count();
    assert_eq!(pushed, 2);
    let (progress, events) = noted();
    assert_eq!(one.images.push(&name(&tag), Credentials::Anonymous, progress).await.unwrap(), digest);
    let there = events.lock().unwrap().iter().filter(|e| matches!(e, Event::LayerExists { .. })).count();
    assert_eq!(there, 2, "nothing is sent twice");
    let kept = one.blobs.list().unwrap();
    assert_eq!(kept.len(), 5, "two tars, two configurations, a manifest: {kept:?}");

    let two = engine();
    let (progress, events) = noted();
    let pulled = two.images.pull(&name(&tag), None, Credentials::Anonymous, progress).await.unwrap();
    assert_eq!(pulled.id, image.id);
    assert_eq!((two.content(&pulled, "/b"), two.content(&pulled, "/a").len()), ("2".into(), 300_000));
    let events = events.lock().unwrap().clone();
    assert!(events.contains(&Event::Digest(digest.clone())), "{events:?}");
    assert!(matches!(events.last(), Some(Event::Status(text)) if text.starts_with("Downloaded newer image")));
    assert_eq!(two.images.inspect(&tag).unwrap().digests, [name(&tag).with_digest(digest.clone())]);
    let (progress, events) = noted();
    two.images.pull(&name(&tag), None, Credentials::Anonymous, progress).await.unwrap();
    assert!(
        matches!(events.lock().unwrap().last(), Some(Event::Status(text)) if text.contains("up to date"))
    );

    // Under another name the layers are mounted, and a pulled image keeps its manifest.
    let other = format!("{}/other", registry.address);
    two.images.tag(&tag, &name(&other)).unwrap();
    let (progress, events) = noted();
    assert_eq!(two.images.push(&name(&other), Credentials::Anonymous, progress).await.unwrap(), digest);
    let mounted = events.lock().unwrap().iter().filter(|e| matches!(e, Event::Mounted { .. })).count();
    assert_eq!(mounted, 2);
    let by_digest = format!("{}/other@{digest}", registry.address);
    let three = engine();
    let pulled = three.images.pull(&name(&by_digest), None, Credentials::Anonymous, quiet()).await.unwrap();
    assert_eq!(three.images.resolve(&by_digest).unwrap().id, pulled.id);
    three.images.remove(&by_digest, false, &unused).unwrap();
    assert!(three.is_empty());
    registry.stop().await;
}

#[tokio::test]
async fn many_pulls_of_one_image_fetch_it_once() {
    let registry = registry().await;
    let one = engine();
    let tag = format!("{}/app", registry.address);
    one.import(&tag, &[("a", &"z".repeat(1_000_000))]).await;
    one.images.push(&name(&tag), Credentials::Anonymous, quiet()).await.unwrap();
    let two = engine();
    let fetched = Arc::new(AtomicU64::new(0));
    let mut pulls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (images, tag, fetched) = (two.images.clone(), name(&tag), Arc::clone(&fetched));
        pulls.spawn(async move {
            let progress: Progress = Arc::new(move |event| {
                if matches!(event, Event::Downloaded { .. }) {
                    fetched.fetch_add(1, Ordering::Relaxed);
                }
            });
            images.pull(&tag, None, Credentials::Anonymous, progress).await.map(|image| image.id.clone())
        });
    }
    let ids = pulls.join_all().await;
    assert!(ids.iter().all(|id| id.as_ref().unwrap() == ids[0].as_ref().unwrap()));
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    registry.stop().await;
}

#[tokio::test]
async fn images_that_share_layers_fetch_each_once() {
    let registry = registry().await;
    let one = engine();
    let tag = |image: &str| format!("{}/{image}", registry.address);
    let base = one.import(&tag("base"), &[("a", &"z".repeat(1_000_000))]).await;
    let (left, right) =
        (one.extend(&base, &tag("left"), "b", "2").await, one.extend(&base, &tag("right"), "c", "3").await);
    for image in ["left", "right"] {
        one.images.push(&name(&tag(image)), Credentials::Anonymous, quiet()).await.unwrap();
    }
    let two = engine();
    let fetched = Arc::new(AtomicU64::new(0));
    let mut pulls = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (images, fetched) = (two.images.clone(), Arc::clone(&fetched));
        let tag = name(&tag(if n % 2 == 0 { "left" } else { "right" }));
        pulls.spawn(async move {
            let progress: Progress = Arc::new(move |event| {
                if matches!(event, Event::Downloaded { .. }) {
                    fetched.fetch_add(1, Ordering::Relaxed);
                }
            });
            images.pull(&tag, None, Credentials::Anonymous, progress).await.unwrap()
        });
    }
    pulls.join_all().await;
    assert_eq!(fetched.load(Ordering::Relaxed), 3);
    for (image, path, content) in [(&left, "b", "2"), (&right, "c", "3")] {
        let pulled = two.images.resolve(image.id.as_str()).unwrap();
        assert_eq!(
            (two.content(&pulled, path), two.content(&pulled, "a").len()),
            (content.into(), 1_000_000)
        );
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_pull_that_fails_leaves_nothing() {
    let registry = registry().await;
    let one = engine();
    let tag = format!("{}/app", registry.address);
    let base = one.import(&tag, &[("a", "1")]).await;
    let top = one.extend(&base, &tag, "b", "2").await;
    one.images.push(&name(&tag), Credentials::Anonymous, quiet()).await.unwrap();
    let two = engine();
    let pull = |tag: &str| {
        let (images, tag) = (two.images.clone(), name(tag));
        async move { images.pull(&tag, None, Credentials::Anonymous, quiet()).await }
    };
    let absent = pull(&format!("{}/absent", registry.address)).await.unwrap_err();
    assert!(absent.kind() == ErrorKind::NotFound && absent.full().contains("not found"), "{}", absent.full());
    // The registry has lost a layer.
    let sent = one.images.resolve(top.id.as_str()).unwrap().layers[1].compressed.clone().unwrap();
    registry.blobs.remove(&sent.digest).unwrap();
    let error = pull(&tag).await.unwrap_err();
    assert!(error.full().contains(sent.digest.as_str()), "{}", error.full());
    assert!(two.images.list().is_empty());
    assert!(two.is_empty(), "blobs {:?}", two.blobs.list());
    let wrong: wharf_oci::platform::Platform = "linux/s390x".parse().unwrap();
    let error =
        two.images.pull(&name(&tag), Some(&wrong), Credentials::Anonymous, quiet()).await.unwrap_err();
    assert!(error.full().contains("does not match the specified platform"), "{}", error.full());
    registry.stop().await;
}

#[tokio::test]
async fn saved_and_loaded() {
    let one = engine();
    let base = one.import("base", &[("a", "1")]).await;
    let image = one.extend(&base, "app:1", "b", "2").await;
    one.images.tag("app:1", &name("app:2")).unwrap();
    let mut archive = Vec::new();
    one.images.save(&["app".into(), "base".into()], &mut archive).unwrap();
    let mut again = Vec::new();
    one.images.save(&["app".into(), "base".into()], &mut again).unwrap();
    assert_eq!(archive, again, "the same images give the same archive");

    let mut packed = Vec::new();
    compress::gzip(&archive[..], &mut packed).unwrap();
    for archive in [archive.clone(), packed, without(&archive, "manifest.json")] {
        let two = engine();
        let (progress, events) = noted();
        let loaded = two.images.load(std::io::Cursor::new(archive), None, progress).await.unwrap();
        assert!(loaded.iter().any(|i| i.id == image.id) && loaded.iter().any(|i| i.id == base.id));
        assert_eq!(two.content(&two.images.resolve("app:2").unwrap(), "/b"), "2");
        assert_eq!(two.images.resolve("app:1").unwrap().id, image.id);
        assert!(
            events
                .lock()
                .unwrap()
                .contains(&Event::Loaded { reference: Some("base:latest".into()), id: base.id.clone() })
        );
        for tag in ["app:1", "app:2", "base"] {
            two.images.remove(tag, false, &unused).unwrap();
        }
        assert!(two.is_empty(), "documents of the archive are not kept: {:?}", two.blobs.list());
    }
    let empty = tar(&[file("x", "1")]).1;
    let two = engine();
    let error = two.images.load(std::io::Cursor::new(empty), None, quiet()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && two.is_empty(), "{}", error.full());
    let cut = archive[..archive.len() / 2].to_vec();
    assert!(two.images.load(std::io::Cursor::new(cut), None, quiet()).await.is_err());
    assert!(two.is_empty());
}

/// The archive without one of its files.
fn without(archive: &[u8], path: &str) -> Vec<u8> {
    let mut reader = wharf_oci::tar::Reader::new(archive);
    let mut writer = wharf_oci::tar::Writer::new(Vec::new());
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        if entry.path != path.as_bytes() {
            writer.header(&entry).unwrap();
            writer.content(content.len() as u64, &mut &content[..]).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// An archive of Docker before version 25: layers by directory, one a link to another.
#[tokio::test]
async fn old_archives_load() {
    let (diff, layer) = tar(&[file("f", "1")]);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff}","{diff}"]}}}}"#
    );
    let manifest =
        r#"[{"Config":"abc.json","RepoTags":["old:1"],"Layers":["one/layer.tar","two/layer.tar"]}]"#;
    let entries = [
        file("abc.json", &config),
        wharf_model::snapshots::conformance::link(
            wharf_oci::tar::Kind::Symlink,
            "two/layer.tar",
            "../one/layer.tar",
        ),
        (wharf_oci::tar::Entry::new(wharf_oci::tar::Kind::File, "one/layer.tar"), &layer[..]),
        file("manifest.json", manifest),
    ];
    let engine = engine();
    let images = engine.images.load(std::io::Cursor::new(tar(&entries).1), None, quiet()).await.unwrap();
    assert_eq!((images[0].layers.len(), images[0].id.clone()), (2, Digest::sha256(config.as_bytes())));
    assert_eq!(engine.content(&engine.images.resolve("old:1").unwrap(), "f"), "1");
}

#[tokio::test]
async fn what_was_looked_up_is_held_as_it_is_now() {
    let here = engine();
    let old = here.import("mine", &[("a", "1")]).await;
    let mut other = (*old).clone();
    other.layers[0].compressed = Some(other.layers[0].blob.clone());
    let now = here.images.table().put(&*here.images.records, other, &[]).unwrap();
    let lease = Lease::new(&here.images.leases);
    assert_eq!(here.images.hold_image(&lease, &old).unwrap(), now);
    let before = here.blobs.list().unwrap().len();
    here.images.remove("mine", false, &unused).unwrap();
    assert_eq!(here.blobs.list().unwrap().len(), before, "all of it is held");
    assert_eq!(here.images.hold_image(&lease, &old).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(here.images.table().now(&old).unwrap_err().kind(), ErrorKind::NotFound);
    here.images.end_lease(Arc::new(lease)).unwrap();
    assert!(here.is_empty());
}
