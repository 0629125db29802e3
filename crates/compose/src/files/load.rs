//! The files of a project into one tree.

use super::canonical::{canonical, canonical_with_variables};
use super::environment::Environment;
use super::interpolate::interpolate;
use super::merge::merge;
use super::node::{Node, Tag, Value};
use super::remote::{self, Remote};
use super::{extends, include, paths, yaml};
use crate::error::Error;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Largest file, in bytes: many times what anybody writes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What finds fault with a file.
pub type Check = fn(&Node) -> Result<(), Error>;

/// Where a Compose file is.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Its text, from standard input.
    Text(String),
}

/// What is loaded, and how.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// The files, each over those before.
    pub sources: Vec<Source>,
    /// The project's directory, absolute.
    pub dir: PathBuf,
    /// Leave variables as they are written.
    pub no_interpolate: bool,
    /// Leave paths as they are written.
    pub no_paths: bool,
    /// Who fetches files that are not on this machine.
    pub remote: Option<Remote>,
    /// Check each file alone, before it is merged.
    pub check: Option<Check>,
}

/// A loaded project.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The merged tree, in long forms.
    pub tree: Node,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Load {
    /// Reads, interpolates, extends, includes, merges.
    pub fn run(&self, environment: &Environment) -> Result<Loaded, Error> {
        let warnings = RefCell::default();
        let reader = Reader { load: self, environment, depth: 0, warnings: &warnings };
        let mut tree = reader.tree()?;
        tree.settle();
        let mut warnings: Vec<String> = warnings.into_inner();
        let unset = environment.missing();
        let unset = unset
            .iter()
            .map(|name| format!("The {name:?} variable is not set. Defaulting to a blank string."));
        warnings.splice(0..0, unset);
        Ok(Loaded { tree, warnings })
    }
}

/// One file, interpolated and in long forms.
pub(super) struct Parsed {
    pub(super) tree: Node,
}

/// What all files of one project are read with.
pub(super) struct Reader<'a> {
    pub(super) load: &'a Load,
    pub(super) environment: &'a Environment,
    /// Projects that this one is included in.
    pub(super) depth: usize,
    pub(super) warnings: &'a RefCell<Vec<String>>,
}

impl Reader<'_> {
    /// All files, merged.
    pub(super) fn tree(&self) -> Result<Node, Error> {
        let mut merged = Node::default();
        for source in &self.load.sources {
            let documents = match source {
                Source::File(path) => self.documents(path)?,
                Source::Text(text) => self.prepare(yaml::parse(text, &"<stdin>".into())?)?,
            };
            let dir = self.load.dir.clone();
            for mut document in documents {
                if !self.load.no_paths {
                    paths::resolve(&mut document, &dir);
                }
                extends::apply(self, &mut document, &merged, &dir)?;
                include::apply(self, &mut document, &dir)?;
                if merged.value == Value::Null {
                    merged = document;
                    only_once(&mut merged, &mut Vec::new());
                } else {
                    merge(&mut merged, document, &mut Vec::new())?;
                }
            }
        }
        if merged.value == Value::Null {
            return Err(Error::project("empty compose file"));
        }
        Ok(merged)
    }

    /// Where a file is on this machine.
    pub(super) fn locate(&self, dir: &Path, path: &str) -> Result<PathBuf, Error> {
        remote::locate(self.load.remote.as_ref(), dir, path)
    }

    /// A file that is extended: its documents as one.
    pub(super) fn read(&self, path: &Path) -> Result<Parsed, Error> {
        let mut tree = Node::default();
        for document in self.documents(path)? {
            merge(&mut tree, document, &mut Vec::new())?;
        }
        Ok(Parsed { tree })
    }

    fn documents(&self, path: &Path) -> Result<Vec<Node>, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.len() > MAX_FILE_BYTES {
            return Err(Error::project(format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display())));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::project(format!("{}: the file is no UTF-8 text", path.display())))?;
        let shown = path.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(path);
        self.prepare(yaml::parse(&text, &shown.display().to_string().into())?)
    }

    fn prepare(&self, documents: Vec<Node>) -> Result<Vec<Node>, Error> {
        let mut prepared = Vec::new();
        for mut document in documents {
            match document.value {
                Value::Map(_) => {}
                Value::Null => continue,
                _ => {
                    return Err(document
                        .wrong(format!("a Compose file is a mapping, and this is {}", document.kind())));
                }
            }
            if document.remove("version").is_some() {
                let warning =
                    format!("{}: the attribute `version` is obsolete, it is ignored", document.at.file);
                let mut warnings = self.warnings.borrow_mut();
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            if !self.load.no_interpolate {
                interpolate(&mut document, self.environment, "")?;
            }
            if self.load.no_interpolate {
                canonical_with_variables(&mut document)?;
            } else {
                canonical(&mut document)?;
            }
            if let Some(check) = self.load.check {
                check(&document)?;
            }
            prepared.push(document);
        }
        Ok(prepared)
    }
}

/// Takes doubles out of lists of a file that is merged with nothing.
fn only_once(node: &mut Node, path: &mut Vec<String>) {
    if node.tag == Tag::Override {
        node.tag = Tag::None;
    }
    for entry in node.entries_mut() {
        path.push(entry.key.clone());
        only_once(&mut entry.node, path);
        super::merge::unique(&mut entry.node, path);
        path.pop();
    }
}
