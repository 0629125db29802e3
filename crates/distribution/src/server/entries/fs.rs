//! Entries as small files.
//!
//! ```text
//! catalog/<name, `/` as `%`>
//! repositories/<name>/_blobs/<digest>
//! repositories/<name>/_manifests/<digest>
//! repositories/<name>/_tags/<tag>
//! repositories/<name>/_referrers/<digest>/<digest>
//! ```
//!
//! No component of a repository's name begins with `_`. The catalog is one flat folder, so that a page of it reads
//! one directory and not one a repository.

use super::{Entries, Folder};
use std::collections::BinaryHeap;
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use wharf_model::{Error, ErrorKind, Result};

/// The `Entries` seam on a directory.
pub(in crate::server) struct FileEntries {
    catalog: PathBuf,
    repositories: PathBuf,
}

impl FileEntries {
    pub(in crate::server) fn open(root: &Path) -> Result<Self> {
        let entries = Self { catalog: root.join("catalog"), repositories: root.join("repositories") };
        make_dir(&entries.repositories)?;
        if !entries.catalog.is_dir() {
            // A root of a version that had no catalog.
            make_dir(&entries.catalog)?;
            entries.repositories(
                &mut |name| match entries.page(Folder::Manifests(name), None, 1)?.is_empty() {
                    true => Ok(()),
                    false => entries.put(Folder::Catalog, name, ""),
                },
            )?;
        }
        Ok(entries)
    }

    fn dir(&self, folder: Folder<'_>) -> PathBuf {
        match folder {
            Folder::Catalog => self.catalog.clone(),
            Folder::Blobs(repository) => self.repositories.join(repository).join("_blobs"),
            Folder::Manifests(repository) => self.repositories.join(repository).join("_manifests"),
            Folder::Tags(repository) => self.repositories.join(repository).join("_tags"),
            Folder::Referrers(repository, subject) => {
                self.repositories.join(repository).join("_referrers").join(subject.as_str())
            }
        }
    }

    fn path(&self, folder: Folder<'_>, name: &str) -> PathBuf {
        self.dir(folder).join(name.replace('/', "%"))
    }
}

impl Entries for FileEntries {
    fn get(&self, folder: Folder<'_>, name: &str) -> Result<Option<String>> {
        read(&self.path(folder, name))
    }

    fn put(&self, folder: Folder<'_>, name: &str, value: &str) -> Result<()> {
        write(&self.path(folder, name), value.as_bytes())
    }

    fn remove(&self, folder: Folder<'_>, name: &str) -> Result<bool> {
        remove(&self.path(folder, name))
    }

    fn age(&self, folder: Folder<'_>, name: &str) -> Result<Option<Duration>> {
        let path = self.path(folder, name);
        match std::fs::metadata(&path).and_then(|m| m.modified()) {
            Ok(modified) => Ok(Some(SystemTime::now().duration_since(modified).unwrap_or_default())),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(failed("stat", &path, e)),
        }
    }

    fn renew(&self, folder: Folder<'_>, name: &str) -> Result<()> {
        let path = self.path(folder, name);
        let renewed = std::fs::File::options().append(true).open(&path);
        match renewed.and_then(|file| file.set_modified(SystemTime::now())) {
            Err(e) if !is_absent(&e) => Err(failed("renew", &path, e)),
            _ => Ok(()),
        }
    }

    fn page(&self, folder: Folder<'_>, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        // The greatest of the smallest is on top, and goes when a smaller one comes.
        let mut smallest = BinaryHeap::new();
        for_each_name(&self.dir(folder), |name| {
            let name = name.replace('%', "/");
            if limit == 0 || after.is_some_and(|after| *name <= *after) {
                return Ok(());
            }
            if smallest.len() == limit {
                if smallest.peek().is_some_and(|greatest| *greatest < name) {
                    return Ok(());
                }
                smallest.pop();
            }
            smallest.push(name);
            Ok(())
        })?;
        Ok(smallest.into_sorted_vec())
    }

    fn repositories(&self, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let mut pending = vec![String::new()];
        while let Some(parent) = pending.pop() {
            let mut holds = false;
            for_each_name(&self.repositories.join(&parent), |child| {
                if child.starts_with('_') {
                    holds = true;
                } else {
                    pending.push(if parent.is_empty() {
                        child.to_owned()
                    } else {
                        format!("{parent}/{child}")
                    });
                }
                Ok(())
            })?;
            if holds {
                visit(&parent)?;
            }
        }
        Ok(())
    }

    fn tidy(&self, repository: &str) -> Result<()> {
        let dir = self.repositories.join(repository);
        let referrers = dir.join("_referrers");
        for_each_name(&referrers, |subject| remove_empty(&referrers.join(subject)))?;
        for kind in ["_blobs", "_manifests", "_tags", "_referrers"] {
            remove_empty(&dir.join(kind))?;
        }
        // And the folders above it that only it needed.
        let mut name = repository;
        while !name.is_empty() {
            remove_empty(&self.repositories.join(name))?;
            name = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        Ok(())
    }
}

pub(in crate::server) fn failed(operation: &str, path: &Path, error: std::io::Error) -> Error {
    Error::wrap(ErrorKind::Internal, format!("{operation} {}", path.display()), error)
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), Io::NotFound | Io::NotADirectory)
}

pub(in crate::server) fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| failed("make directory", dir, e))
}

fn remove_empty(dir: &Path) -> Result<()> {
    match std::fs::remove_dir(dir) {
        Err(e) if !is_absent(&e) && e.kind() != Io::DirectoryNotEmpty => Err(failed("remove", dir, e)),
        _ => Ok(()),
    }
}

pub(in crate::server) fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(failed("read", path, e)),
    }
}

/// Writes a file that is there wholly or not at all, also after a power cut.
pub(in crate::server) fn write(path: &Path, content: &[u8]) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let dir = path.parent().unwrap_or(path);
    // Begins with a dot: no tag, digest or name does, so what a crash leaves is never listed.
    let part = dir.join(format!(".part-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let create = || match std::fs::File::create(&part) {
        Err(e) if e.kind() == Io::NotFound => {
            std::fs::create_dir_all(dir).and_then(|()| std::fs::File::create(&part))
        }
        file => file,
    };
    // A folder that was just emptied may be taken away in between.
    let create = || create().or_else(|e| if e.kind() == Io::NotFound { create() } else { Err(e) });
    let result = (|| {
        let mut file = create()?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        std::fs::File::open(dir)?.sync_all()
    })();
    result.map_err(|e| failed("write", path, e))
}

pub(in crate::server) fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if is_absent(&e) => Ok(false),
        Err(e) => Err(failed("remove", path, e)),
    }
}

/// Every name in a directory, but those that begin with a dot, in no order.
pub(in crate::server) fn for_each_name(dir: &Path, mut visit: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if is_absent(&e) => return Ok(()),
        entries => entries.map_err(|e| failed("list", dir, e))?,
    };
    for entry in entries {
        let name = entry.map_err(|e| failed("list", dir, e))?.file_name();
        if let Some(name) = name.to_str().filter(|n| !n.starts_with('.')) {
            visit(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        super::super::conformance::suite(&FileEntries::open(dir.path()).unwrap());
    }

    #[test]
    fn a_root_without_a_catalog_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let entries = FileEntries::open(dir.path()).unwrap();
        entries.put(Folder::Manifests("team/app"), "sha256:1", "x").unwrap();
        entries.put(Folder::Blobs("only/blobs"), "sha256:1", "").unwrap();
        std::fs::remove_dir_all(dir.path().join("catalog")).unwrap();
        let entries = FileEntries::open(dir.path()).unwrap();
        assert_eq!(entries.page(Folder::Catalog, None, 9).unwrap(), ["team/app"]);
    }

    /// 10,000 names, a hundred at a time: the memory of a page is that of its hundred names.
    #[test]
    fn many_names_come_in_pages() {
        let dir = tempfile::tempdir().unwrap();
        let entries = FileEntries::open(dir.path()).unwrap();
        for n in 0..10_000 {
            std::fs::write(dir.path().join(format!("catalog/team{}%app-{n:05}", n % 7)), "").unwrap();
        }
        let (mut after, mut all) = (None::<String>, Vec::new());
        loop {
            let page = entries.page(Folder::Catalog, after.as_deref(), 100).unwrap();
            assert!(page.len() <= 100);
            let Some(last) = page.last().cloned() else { break };
            after = Some(last);
            all.extend(page);
        }
        assert_eq!(all.len(), 10_000);
        assert!(all.is_sorted());
    }
}
