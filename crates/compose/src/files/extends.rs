//! `extends`: a service that begins as another one, of the same file or of another.

use super::load::{Parsed, Reader};
use super::merge::merge;
use super::nearest::nearest;
use super::node::{Node, Value};
use super::paths;
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Services on the way from one to what it begins as.
const MAX_DEPTH: usize = 64;

/// Works out all `extends` of a file. `before` has the services of the files merged so far.
pub(super) fn apply(reader: &Reader<'_>, file: &mut Node, before: &Node, dir: &Path) -> Result<(), Error> {
    let Some(services) = file.get("services") else { return Ok(()) };
    let names: Vec<String> = services.entries().iter().map(|entry| entry.key.clone()).collect();
    for name in names {
        if file.get("services").and_then(|s| s.get(&name)).is_some_and(|s| s.given("extends").is_some()) {
            let done = resolve(reader, file, before, dir, &name, &mut Vec::new())?;
            if let Some(service) = file.get_mut("services").and_then(|s| s.get_mut(&name)) {
                *service = done;
            }
        }
    }
    Ok(())
}

/// A service with what it extends.
fn resolve(
    reader: &Reader<'_>,
    file: &Node,
    before: &Node,
    dir: &Path,
    name: &str,
    way: &mut Vec<(PathBuf, String)>,
) -> Result<Node, Error> {
    let services = |file: &'_ Node| file.get("services").cloned().unwrap_or_default();
    let own = services(file).get(name).or_else(|| before.get("services").and_then(|s| s.get(name))).cloned();
    let Some(mut service) = own else { return Err(Error::project(format!("service {name:?} not found"))) };
    let Some(extends) = service.remove("extends").filter(|extends| extends.value != Value::Null) else {
        return Ok(service);
    };
    let here = (dir.join(&*service.at.file), name.to_owned());
    if way.contains(&here) || way.len() > MAX_DEPTH {
        let names: Vec<&str> = way.iter().map(|(_, name)| name.as_str()).chain([name]).collect();
        return Err(extends.wrong(format!("circular reference with extends: {}", names.join(" -> "))));
    }
    way.push(here);
    let target = extends
        .get("service")
        .and_then(Node::as_text)
        .ok_or_else(|| extends.wrong(format!("services.{name}.extends.service is required")))?;
    let missing = |known: &Node| {
        let near = nearest(target, known.entries().iter().map(|entry| entry.key.as_str()));
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        extends.wrong(format!("cannot extend service {name:?}: service {target:?} not found{hint}"))
    };
    let mut base = match extends.given("file").and_then(Node::as_text) {
        None => {
            let known = services(file);
            if known.get(target).is_none() && before.get("services").and_then(|s| s.get(target)).is_none() {
                return Err(missing(&known));
            }
            resolve(reader, file, before, dir, target, way)?
        }
        Some(path) => {
            let path = reader.locate(dir, path)?;
            let other_dir = path.parent().unwrap_or(dir).to_owned();
            let Parsed { mut tree } = reader.read(&path)?;
            let known = services(&tree);
            if known.get(target).is_none() {
                return Err(missing(&known));
            }
            paths::resolve(&mut tree, &other_dir);
            resolve(reader, &tree, &Node::default(), &other_dir, target, way)?
        }
    };
    way.pop();
    merge(&mut base, service, &mut vec!["services".into(), name.into()])?;
    Ok(base)
}
