//! A commit's files: trees (gitformat-pack(5) stores them as gitrepository's "mode name\0id") as entries of a tar.

use crate::pack::{Id, Kind, Pack};
use std::io::Write;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::tar::{Entry, Kind as EntryKind, Timestamp, Writer};

/// Files of a repository with its submodules.
const MAX_FILES: usize = 4 << 20;
/// Directories in directories.
const MAX_DEPTH: usize = 256;
/// Bytes of a path (limits.h: PATH_MAX).
const MAX_PATH: usize = 4096;

/// A repository's files at one commit.
pub struct Files {
    commit: Id,
    parts: Vec<Part>,
    modules: Vec<Link>,
    /// The text of `.gitmodules`.
    described: Option<String>,
    /// What the paths of the repository begin with, which those here do not.
    directory: String,
}

struct Part {
    /// Where in the whole it is; empty or with a slash at its end.
    prefix: String,
    pack: Pack,
    time: i64,
    files: Vec<Found>,
}

struct Found {
    path: Vec<u8>,
    mode: u32,
    id: Id,
}

/// Where a submodule is, and at which commit.
struct Link {
    path: String,
    commit: Id,
}

/// A submodule with its repository.
pub(crate) struct Module {
    pub(crate) path: String,
    pub(crate) url: String,
    pub(crate) commit: Id,
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the Git repository is broken: {why}"))
}

fn get(pack: &mut Pack, id: Id, kind: Kind) -> Result<std::sync::Arc<Vec<u8>>> {
    match pack.object(id)? {
        Some(object) if object.kind == kind => Ok(object.content),
        Some(_) => Err(broken(&format!("{id} is not what it should be"))),
        None => Err(broken(&format!("the server did not send {id}"))),
    }
}

/// Finds the files of a commit in one of its directories.
pub(crate) fn files(mut pack: Pack, commit: Id, directory: &str) -> Result<Files> {
    let text = get(&mut pack, commit, Kind::Commit)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = |name: &str| {
        text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name))
    };
    let root = line("tree ").and_then(Id::parse).ok_or_else(|| broken("a commit without a tree"))?;
    // Seconds and the zone come last.
    let time = line("committer ").and_then(|line| line.rsplit(' ').nth(1)?.parse().ok()).unwrap_or_default();
    let described =
        match entries(&get(&mut pack, root, Kind::Tree)?)?.iter().find(|e| e.path == b".gitmodules") {
            Some(entry) if entry.mode & 0o170_000 == 0o100_000 => {
                Some(String::from_utf8_lossy(&get(&mut pack, entry.id, Kind::Blob)?).into_owned())
            }
            _ => None,
        };
    let mut top = root;
    for name in directory.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let here = entries(&get(&mut pack, top, Kind::Tree)?)?;
        let next = here.iter().find(|e| e.path == name.as_bytes() && e.mode & 0o170_000 == 0o040_000);
        top =
            next.ok_or_else(|| Error::not_found(format!("the repository has no directory {directory}")))?.id;
    }
    let (mut found, mut modules) = (Vec::new(), Vec::new());
    walk(&mut pack, top, &mut Vec::new(), 0, &mut |file| {
        if file.mode & 0o170_000 == 0o160_000 {
            let path = String::from_utf8_lossy(&file.path).into_owned();
            modules.push(Link { path, commit: file.id });
        } else {
            found.push(file);
        }
        match found.len() {
            MAX_FILES.. => Err(Error::unsupported(format!("the repository has more than {MAX_FILES} files"))),
            _ => Ok(()),
        }
    })?;
    pack.rest();
    let part = Part { prefix: String::new(), pack, time, files: found };
    let directory =
        directory.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/");
    Ok(Files { commit, parts: vec![part], modules, described, directory })
}

fn walk(
    pack: &mut Pack,
    tree: Id,
    prefix: &mut Vec<u8>,
    depth: usize,
    each: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::unsupported(format!("the repository's directories are deeper than {MAX_DEPTH}")));
    }
    for entry in entries(&get(pack, tree, Kind::Tree)?)? {
        let before = prefix.len();
        prefix.extend_from_slice(&entry.path);
        if prefix.len() > MAX_PATH {
            return Err(Error::unsupported(format!(
                "the repository has a path longer than {MAX_PATH} bytes"
            )));
        }
        let is_directory = entry.mode & 0o170_000 == 0o040_000;
        each(Found { path: prefix.clone(), ..entry })?;
        if is_directory {
            prefix.push(b'/');
            walk(pack, entry.id, prefix, depth + 1, each)?;
        }
        prefix.truncate(before);
    }
    Ok(())
}

/// Names, modes and objects of one tree. A name that could lead anywhere else is refused, as git(1) does.
fn entries(tree: &[u8]) -> Result<Vec<Found>> {
    let mut rest = tree;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(|| broken("a tree without a mode"))?;
        let end = rest
            .iter()
            .position(|b| *b == 0)
            .filter(|end| *end > space)
            .ok_or_else(|| broken("a tree without a name"))?;
        let mode =
            std::str::from_utf8(&rest[..space]).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
        let mode = mode.ok_or_else(|| broken("a mode of a tree"))?;
        let name = &rest[space + 1..end];
        let id = rest
            .get(end + 1..end + 21)
            .and_then(Id::from_bytes)
            .ok_or_else(|| broken("a tree ends early"))?;
        let is_bad = name.is_empty()
            || name.contains(&b'/')
            || matches!(name, b"." | b"..")
            || name.eq_ignore_ascii_case(b".git");
        if is_bad {
            return Err(broken(&format!("a file is called {:?}", String::from_utf8_lossy(name))));
        }
        found.push(Found { path: name.to_vec(), mode, id });
        rest = &rest[end + 21..];
    }
    Ok(found)
}

impl Files {
    /// The commit, 40 hex digits.
    pub fn commit(&self) -> String {
        self.commit.to_string()
    }

    /// The submodules below the directory, with their repositories.
    pub(crate) fn submodules(&mut self) -> Result<Vec<Module>> {
        let links = std::mem::take(&mut self.modules);
        let known = self.described.as_deref().map(modules).unwrap_or_default();
        let find = |link: Link| {
            let whole = match self.directory.as_str() {
                "" => link.path.clone(),
                directory => format!("{directory}/{}", link.path),
            };
            let url = known.iter().find(|(path, _)| *path == whole).map(|(_, url)| url.clone());
            let url = url.ok_or_else(|| {
                Error::invalid(format!("no url found for submodule path '{whole}' in .gitmodules"))
            })?;
            Ok(Module { path: link.path, url, commit: link.commit })
        };
        links.into_iter().map(find).collect()
    }

    /// Puts another repository's files into a directory of these.
    pub(crate) fn add(&mut self, path: &str, other: Self) {
        for part in other.parts {
            self.parts.push(Part { prefix: format!("{path}/{}", part.prefix), ..part });
        }
    }

    /// Writes all as a tar with names below `./`: directories before what is in them, files of mode 0644 or 0755, the commit's time.
    ///
    /// # Errors
    /// `Internal` for what cannot be read or written.
    pub fn write(self, out: &mut dyn Write) -> Result<()> {
        let failed = |e| Error::wrap(ErrorKind::Internal, "archive the files of a repository", e);
        let mut writer = Writer::new(out);
        for mut part in self.parts {
            if !part.prefix.is_empty() {
                let directory = Entry {
                    mode: 0o755,
                    ..Entry::new(EntryKind::Directory, format!("./{}", part.prefix.trim_end_matches('/')))
                };
                writer.header(&directory).map_err(failed)?;
            }
            for file in std::mem::take(&mut part.files) {
                let path = [b"./", part.prefix.as_bytes(), &file.path[..]].concat();
                let at = Timestamp { seconds: part.time, nanos: 0 };
                let entry = |kind, mode| Entry { mode, mtime: at, ..Entry::new(kind, path.clone()) };
                match file.mode & 0o170_000 {
                    0o040_000 => writer.header(&entry(EntryKind::Directory, 0o755)).map_err(failed)?,
                    0o120_000 => {
                        let link = get(&mut part.pack, file.id, Kind::Blob)?.to_vec();
                        writer.header(&Entry { link, ..entry(EntryKind::Symlink, 0o777) }).map_err(failed)?;
                    }
                    0o100_000 => {
                        let content = get(&mut part.pack, file.id, Kind::Blob)?;
                        let mode = if file.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                        writer.file(&entry(EntryKind::File, mode), &content).map_err(failed)?;
                    }
                    other => return Err(broken(&format!("a file of mode {other:o}"))),
                }
            }
        }
        writer.finish().map(drop).map_err(failed)
    }
}

/// Paths and repositories in a text of gitmodules(5).
fn modules(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(Option<String>, Option<String>)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("[submodule") {
            found.push((None, None));
        } else if let (Some((name, value)), Some(last)) = (line.split_once('='), found.last_mut()) {
            let value = Some(value.trim().trim_matches('"').to_owned());
            match name.trim() {
                "path" => last.0 = value.map(|path| path.trim_end_matches('/').to_owned()),
                "url" => last.1 = value,
                _ => {}
            }
        }
    }
    found.into_iter().filter_map(|(path, url)| Some((path?, url?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let tree = |name: &str| [format!("100644 {name}\0").as_bytes(), &[1; 20]].concat();
        assert_eq!(entries(&tree("a b")).unwrap()[0].path, b"a b");
        for bad in ["..", ".", "", ".git", ".GIT", "a/b"] {
            assert!(entries(&tree(bad)).is_err(), "{bad:?}");
        }
        for bad in [&b"100644"[..], b"100644 a", b"x a\0", b"100644 a\0short"] {
            assert!(entries(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn gitmodules() {
        let text =
            "[submodule \"a\"]\n\tpath = lib/a/\n\turl = ../a.git\n[submodule \"b\"]\npath=b\n[core]\n";
        assert_eq!(modules(text), [("lib/a".to_owned(), "../a.git".to_owned())]);
    }
}
