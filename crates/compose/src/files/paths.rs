//! Relative paths become absolute, from the directory of the file that says them.

use super::node::{Node, Value};
use std::path::{Component, Path, PathBuf};

/// Makes the paths of a file absolute.
pub fn resolve(file: &mut Node, dir: &Path) {
    if let Some(services) = file.get_mut("services") {
        services.entries_mut().iter_mut().for_each(|entry| service(&mut entry.node, dir));
    }
    for section in ["configs", "secrets"] {
        let Some(section) = file.get_mut(section) else { continue };
        section.entries_mut().iter_mut().for_each(|entry| at(&mut entry.node, "file", dir));
    }
    let Some(volumes) = file.get_mut("volumes") else { return };
    for entry in volumes.entries_mut() {
        let local =
            entry.node.get("driver").is_none_or(|driver| matches!(driver.as_text(), Some("local" | "")));
        let Some(options) = entry.node.get_mut("driver_opts").filter(|_| local) else { continue };
        let is_bind =
            options.get("o").and_then(Node::as_text).is_some_and(|o| o.split(',').any(|o| o == "bind"));
        if is_bind {
            at(options, "device", dir);
        }
    }
}

/// Makes the paths of a service absolute.
pub fn service(service: &mut Node, dir: &Path) {
    if let Some(build) = service.get_mut("build") {
        if let Some(context) = build.get_mut("context") {
            local(context, dir);
        }
        if let Some(contexts) = build.get_mut("additional_contexts") {
            contexts.entries_mut().iter_mut().for_each(|entry| local(&mut entry.node, dir));
        }
    }
    for item in service.get_mut("env_file").into_iter().flat_map(Node::items_mut) {
        at(item, "path", dir);
    }
    for item in service.get_mut("label_file").into_iter().flat_map(Node::items_mut) {
        absolute(item, dir);
    }
    for item in service.get_mut("volumes").into_iter().flat_map(Node::items_mut) {
        if item.get("type").and_then(Node::as_text) == Some("bind") {
            at(item, "source", dir);
        }
    }
    if let Some(watch) = service.get_mut("develop").and_then(|develop| develop.get_mut("watch")) {
        watch.items_mut().iter_mut().for_each(|item| at(item, "path", dir));
    }
}

fn at(owner: &mut Node, key: &str, dir: &Path) {
    if let Some(node) = owner.get_mut(key) {
        absolute(node, dir);
    }
}

/// A build context that is no address and no other service or image.
fn local(node: &mut Node, dir: &Path) {
    let is_remote = node.as_text().is_none_or(is_remote);
    if !is_remote {
        absolute(node, dir);
    }
}

/// Whether a build context is somewhere else than on this machine.
pub fn is_remote(context: &str) -> bool {
    context.contains("://")
        || ["git@", "github.com/", "service:"].iter().any(|prefix| context.starts_with(prefix))
        || context.ends_with(".git")
}

fn absolute(node: &mut Node, dir: &Path) {
    // One that is absolute stays as it is written, as with Docker.
    if let Value::Text(text) = &mut node.value
        && !text.starts_with('/')
    {
        *text = join(dir, text).to_string_lossy().into_owned();
    }
}

/// A path from a directory, without `.` and `..`; `~` is the home directory.
pub fn join(dir: &Path, path: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let full = match path.strip_prefix('~') {
        Some("") => home().unwrap_or_else(|| dir.join(path)),
        Some(rest) if rest.starts_with('/') => {
            home().map_or_else(|| dir.join(path), |home| home.join(&rest[1..]))
        }
        _ => dir.join(path),
    };
    let mut clean = PathBuf::new();
    for component in full.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}
