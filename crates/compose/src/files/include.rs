//! `include`: other projects' resources become this one's.

use super::load::{Load, Reader, Source};
use super::node::{Node, Value};
use super::{dotenv, paths};
use crate::error::Error;
use std::path::Path;

/// Files that include each other, one within the other.
const MAX_DEPTH: usize = 32;

/// Adds what a file includes to it. What it says itself must not differ.
pub(super) fn apply(reader: &Reader<'_>, file: &mut Node, dir: &Path) -> Result<(), Error> {
    let Some(includes) = file.remove("include") else { return Ok(()) };
    if reader.depth > MAX_DEPTH {
        return Err(includes.wrong("include cycle detected"));
    }
    for include in includes.items() {
        let paths = texts(include, "path");
        let paths = paths.iter().map(|path| reader.locate(dir, path)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = paths.first() else { return Err(include.wrong("include.path is required")) };
        let project_dir = match include.given("project_directory").and_then(Node::as_text) {
            Some(given) => paths::join(dir, given),
            None => first.parent().unwrap_or(dir).to_owned(),
        };
        let mut environment = reader.environment.clone();
        let mut files: Vec<_> =
            texts(include, "env_file").iter().map(|path| paths::join(dir, path)).collect();
        if files.is_empty() {
            files = Some(project_dir.join(".env")).filter(|file| file.is_file()).into_iter().collect();
        }
        for path in files {
            for (name, value) in
                dotenv::read(&path, false, &|name| reader.environment.get(name).map(str::to_owned))?
            {
                environment.or_set(&name, value.unwrap_or_default());
            }
        }
        let load = Load {
            sources: paths.into_iter().map(Source::File).collect(),
            dir: project_dir,
            ..reader.load.clone()
        };
        let inner = Reader {
            load: &load,
            environment: &environment,
            depth: reader.depth + 1,
            warnings: reader.warnings,
        };
        let mut included = inner.tree()?;
        reader.environment.also_asked(&environment);
        included.remove("name");
        included.remove("version");
        import(file, included)?;
    }
    Ok(())
}

fn texts(owner: &Node, key: &str) -> Vec<String> {
    owner.get(key).map(|list| list.items().iter().filter_map(Node::scalar).collect()).unwrap_or_default()
}

/// Adds resources that are not there. The same one twice is no conflict.
fn import(file: &mut Node, included: Node) -> Result<(), Error> {
    for section in included.entries() {
        if section.key.starts_with("x-") {
            file.or_set(&section.key, section.node.value.clone());
            continue;
        }
        for entry in section.node.entries() {
            let known = file.get(&section.key).and_then(|own| own.get(&entry.key));
            match known {
                Some(known) if !same(known, &entry.node) => {
                    return Err(known.wrong(format!(
                        "{}.{} conflicts with imported resource of {}",
                        section.key, entry.key, entry.node.at
                    )));
                }
                Some(_) => {}
                None => {
                    if file.get(&section.key).is_none() {
                        file.set(&section.key, Node::new(Value::Map(Vec::new()), &section.node.at));
                    }
                    if let Some(own) = file.get_mut(&section.key) {
                        own.set(&entry.key, entry.node.clone());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Equal but for places and order of keys.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Map(x), Value::Map(y)) => {
            x.len() == y.len()
                && x.iter().all(|entry| b.get(&entry.key).is_some_and(|other| same(&entry.node, other)))
        }
        (Value::List(x), Value::List(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (x, y) => x == y,
    }
}
