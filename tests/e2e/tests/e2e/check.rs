//! `image check`: what is damaged on the disk is found, and mended from what is left or from a registry.

use super::registry::Registry;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use wharf_e2e::Engine;

/// Files of layers that are kept as such, not the image's own `/bin/tar`.
fn tars(e: &Engine) -> Vec<PathBuf> {
    let is_layers = |path: &PathBuf| path.ends_with("tar") && !path.to_string_lossy().contains("/fs/");
    large(e, "data/snapshots/t").into_iter().filter(is_layers).collect()
}

/// Layers among the blobs, not documents.
fn blobs(e: &Engine) -> Vec<PathBuf> {
    large(e, "data/content/blobs")
}

fn large(e: &Engine, below: &str) -> Vec<PathBuf> {
    let found = e.files_below(below).into_iter().map(PathBuf::from);
    found.filter(|path| path.metadata().is_ok_and(|m| m.len() > 100_000)).collect()
}

/// Changes a byte in the middle of each file.
fn spoil(paths: &[PathBuf]) {
    assert!(!paths.is_empty());
    for path in paths {
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let middle = file.metadata().unwrap().len() / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, middle).unwrap();
        file.write_all_at(&[!byte[0]], middle).unwrap();
    }
}

#[test]
fn damage_is_found_and_mended() {
    let Some(e) = Engine::start() else { return };
    let registry = Registry::open(&e, "registry");
    let name = format!("{}/app:1", registry.address());
    e.run(&["tag", "busybox", &name]).ok();
    e.run(&["push", &name]).ok();
    e.run(&["rmi", "busybox", &name]).ok();
    e.run(&["pull", &name]).ok();
    let sound = e.run(&["image", "check"]).ok();
    assert!(sound.contains("Checked 1 image, 4 objects") && sound.contains("all sound"), "{sound}");
    assert_eq!(e.run(&["image", "check", "-q", &name]).ok(), "");
    let missing = e.run(&["image", "check", "nothing"]);
    assert!(missing.code == 1 && missing.err.contains("No such image"), "{}", missing.err);

    let tars = tars(&e);
    spoil(&blobs(&e));
    if !tars.is_empty() {
        spoil(&tars);
    }
    let damaged = e.run(&["image", "check"]);
    let kinds = if tars.is_empty() { 1 } else { 2 };
    assert_eq!(damaged.code, 1);
    assert!(damaged.out.contains(&format!("{kinds} damaged")), "{}", damaged.out);
    assert!(damaged.out.contains(&format!(" of {name}: its ")), "{}", damaged.out);
    let mended = e.run(&["image", "check", "--repair", &name]).ok();
    assert!(mended.contains(&format!("{kinds} damaged, {kinds} mended")), "{mended}");
    assert!(e.run(&["image", "check"]).ok().contains("all sound"));
    assert_eq!(e.run(&["run", "--rm", &name, "echo", "well"]).ok(), "well");

    // The registry is gone: a tar is made again of its blob, and a blob that is gone is lost.
    drop(registry);
    if !tars.is_empty() {
        spoil(&tars);
        let mended = e.run(&["image", "check", "--repair"]).ok();
        assert!(mended.contains("1 damaged, 1 mended"), "{mended}");
    }
    std::fs::remove_file(&blobs(&e)[0]).unwrap();
    let lost = e.run(&["image", "check", "--repair"]);
    assert!(lost.code == 1 && lost.out.contains("it is gone: not mended: fetch it again"), "{}", lost.out);
    assert_eq!(e.run(&["run", "--rm", &name, "echo", "well"]).ok(), "well", "it still runs");
}

#[test]
fn what_was_made_here_is_mended_from_itself() {
    let Some(e) = Engine::start() else { return };
    // The blob and the layer's tar are one file.
    let blobs = blobs(&e);
    if tars(&e).is_empty() {
        println!("skipped: layers are unpacked here");
        return;
    }
    std::fs::remove_file(&blobs[0]).unwrap();
    let mended = e.run(&["image", "check", "--repair", "busybox"]).ok();
    assert!(mended.contains("1 damaged, 1 mended"), "{mended}");
    spoil(&blobs);
    let lost = e.run(&["image", "check", "--repair"]);
    assert!(lost.code == 1 && lost.out.contains("never pushed"), "{}", lost.out);
}
