//! `--compressed-layers drop`: what a registry sent is let go of when the plain tars are here.

use super::registry::Registry;
use wharf_e2e::{Engine, eventually};

/// Digests of the layers and other blobs that are kept.
fn blobs(e: &Engine) -> Vec<String> {
    let found = e.files_below("data/content/blobs/sha256").into_iter();
    found.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// The digest of an image's only layer in its manifest, as its registry has it.
fn compressed(e: &Engine, name: &str) -> String {
    let manifest = e.run(&["manifest", "inspect", "--insecure", name]).ok();
    let json: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    json["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned()
}

#[test]
fn compressed_layers_go_and_everything_works() {
    let Some(mut e) = Engine::start() else { return };
    if !e.run(&["info"]).ok().contains("Layers: erofs") {
        println!("skipped: layers are unpacked here");
        return;
    }
    let registry = Registry::open(&e, "registry");
    let name = format!("{}/app:1", registry.address());
    e.run(&["tag", "busybox", &name]).ok();
    e.run(&["push", &name]).ok();
    let layer = compressed(&e, &name);
    e.run(&["rmi", "busybox", &name]).ok();
    e.run(&["pull", &name]).ok();
    assert!(blobs(&e).contains(&layer), "kept unless told");

    // From the next start on it goes, of what is here and of what comes.
    e.kill();
    e.add_flag("--compressed-layers=drop");
    e.launch();
    eventually("the compressed layer is gone", || !blobs(&e).contains(&layer));
    assert!(e.run(&["image", "check"]).ok().contains("all sound"));
    assert_eq!(e.run(&["run", "--rm", &name, "echo", "well"]).ok(), "well");
    assert!(e.run(&["pull", &name]).ok().contains("Image is up to date"));
    e.run(&["rmi", &name]).ok();
    assert!(e.files_below("data/content/blobs").is_empty());
    e.run(&["pull", &name]).ok();
    eventually("the compressed layer is gone", || !blobs(&e).contains(&layer));

    // The same registry has it still; another gets an equal layer.
    let again = e.run(&["push", &name]).ok();
    assert!(again.contains("Layer already exists"), "{again}");
    let other = Registry::open(&e, "other");
    let there = format!("{}/app:1", other.address());
    e.run(&["tag", &name, &there]).ok();
    assert!(e.run(&["push", &there]).ok().contains("digest: sha256:"));
    let archive = e.path("saved.tar").display().to_string();
    e.run(&["save", "-o", &archive, &name]).ok();
    e.run(&["rmi", &there, &name]).ok();
    e.run(&["load", "-i", &archive]).ok();
    assert_eq!(e.run(&["run", "--rm", &name, "echo", "well"]).ok(), "well");
    e.run(&["rmi", &name]).ok();
    e.run(&["pull", &there]).ok();
    assert_eq!(e.run(&["run", "--rm", &there, "echo", "well"]).ok(), "well");
}
