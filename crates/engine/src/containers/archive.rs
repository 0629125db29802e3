//! `cp`: files in and out of a container.

use super::Containers;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use wharf_model::container::{ContainerRecord, ResolvedMount};
use wharf_model::idmap::IdMap;
use wharf_model::snapshots::{Live, PathStat, Tree, WriteOptions};
use wharf_model::{Error, ErrorKind, Result};

/// The root directory of a running container as its processes see it.
pub(super) struct LiveRoot {
    root: File,
    /// How its ids stand to the host's.
    ids: Option<IdMap>,
}

impl LiveRoot {
    fn live(&self) -> Live<'_> {
        Live { root: self.root.as_fd(), ids: self.ids.as_ref() }
    }
}

/// Where a path of a container is found.
struct Place<'a> {
    /// The root of a running container, or what is mounted around the path in another.
    root: Option<LiveRoot>,
    /// The path from there.
    path: PathBuf,
    /// What an archive calls it, when that is not the last part of the path.
    called: Option<&'a str>,
    read_only: Option<&'static str>,
}

impl Place<'_> {
    fn tree<'a>(&'a self, record: &'a ContainerRecord) -> Tree<'a> {
        tree(record, self.root.as_ref())
    }
}

impl Containers {
    /// What is at a path of a container; a link is not followed. Blocks.
    pub fn stat_path(&self, record: &ContainerRecord, path: &Path) -> Result<PathStat> {
        let place = self.place(record, path)?;
        let found = self.shared.snapshots.stat(place.tree(record), &place.path, false)?;
        found.ok_or_else(|| absent(record, path))
    }

    /// Writes what is at a path as a tar. Blocks.
    pub fn read_path(&self, record: &ContainerRecord, path: &Path, out: &mut dyn Write) -> Result<()> {
        let place = self.place(record, path)?;
        let called = called(path).or(place.called);
        self.shared.snapshots.read_tar(place.tree(record), &place.path, called, out)
    }

    /// Puts the entries of a tar below a directory that must be there. Blocks.
    pub fn write_path(
        &self,
        record: &ContainerRecord,
        path: &Path,
        tar: &mut dyn Read,
        options: WriteOptions,
    ) -> Result<()> {
        let place = self.place(record, path)?;
        match self.shared.snapshots.stat(place.tree(record), &place.path, true)? {
            Some(stat) if stat.is_directory() => {}
            Some(_) => return Err(Error::invalid(format!("{} is not a directory", path.display()))),
            None => return Err(absent(record, path)),
        }
        match (&place.root, place.read_only) {
            (_, Some(why)) => Err(Error::new(ErrorKind::Forbidden, why)),
            (Some(root), None) => self.shared.snapshots.write_live(root.live(), &place.path, tar, options),
            (None, None) => self.shared.snapshots.write_tar(record.id.as_str(), &place.path, tar, options),
        }
    }

    fn place<'a>(&self, record: &'a ContainerRecord, path: &Path) -> Result<Place<'a>> {
        let path = Path::new("/").join(path);
        if let Some(root) = self.live_root(record)? {
            // What is mounted may be written to or not; the kernel knows.
            return Ok(Place { root: Some(root), path, called: None, read_only: None });
        }
        match mounted_at(record, &path) {
            Some((mount, below)) => {
                let root = open_source(mount)?;
                let root = LiveRoot { root, ids: None };
                let last = mount.target.trim_end_matches('/').rsplit('/').next();
                let called = last.filter(|_| below == Path::new("/"));
                let read_only = (!mount.read_write).then_some("mounted volume is marked read-only");
                Ok(Place { root: Some(root), path: below, called, read_only })
            }
            None => {
                let read_only = record.spec.read_only.then_some("container rootfs is marked read-only");
                Ok(Place { root: None, path, called: None, read_only })
            }
        }
    }

    /// The root directory of a running container as its processes see it, mounts included; `None` when none runs.
    pub(super) fn live_root(&self, record: &ContainerRecord) -> Result<Option<LiveRoot>> {
        if !record.status.is_running() {
            return Ok(None);
        }
        let process = format!("/proc/{}", record.pid);
        let failed =
            |e| Error::wrap(ErrorKind::Internal, format!("open the root of container {}", record.name), e);
        let root = File::open(format!("{process}/root")).map_err(failed)?;
        // The number may be another process's by now, whose root this would be. The container's own may have gone into a
        // group below.
        let groups = std::fs::read_to_string(format!("{process}/cgroup")).map_err(failed)?;
        let cgroup = self.shared.cgroup_of(record);
        if groups.lines().any(|line| line.contains(&cgroup)) {
            let map = |file| std::fs::read_to_string(format!("{process}/{file}")).map_err(failed);
            let ids = IdMap::parse(&map("uid_map")?, &map("gid_map")?);
            Ok(Some(LiveRoot { root, ids }))
        } else {
            Err(Error::conflict(format!("container {} is not running any more", record.name)))
        }
    }
}

/// The innermost directory that a container mounts around a path, with the rest of the path. Names only: a link on the
/// way does not lead into a mount.
fn mounted_at<'a>(record: &'a ContainerRecord, path: &Path) -> Option<(&'a ResolvedMount, PathBuf)> {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    let around = |mount: &'a ResolvedMount| {
        let below = plain.strip_prefix(mount.target.trim_end_matches('/')).ok()?;
        (mount.image.is_none() && mount.source.is_dir()).then(|| (mount, Path::new("/").join(below)))
    };
    record.mounts.iter().filter_map(around).max_by_key(|(mount, _)| mount.target.trim_end_matches('/').len())
}

/// What Docker calls the top of an archive, where that is not the last part of the path: clients put another name there.
fn called(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    if text == "." || text.ends_with("/.") {
        return Some(".");
    }
    (wharf_oci::path::clean(&text) == "/").then_some("/")
}

/// What a mount shows; no link within a volume leads out of it.
fn open_source(mount: &ResolvedMount) -> Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let failed = |e: std::io::Error| {
        let text = format!("open {}", mount.source.join(&mount.subpath).display());
        Error::wrap(ErrorKind::Internal, text, e)
    };
    let root = File::open(&mount.source).map_err(failed)?;
    if mount.subpath.is_empty() {
        return Ok(root);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(&root, mount.subpath.as_str(), flags, Mode::empty(), resolve);
    Ok(found.map_err(|e| failed(e.into()))?.into())
}

pub(super) fn tree<'a>(record: &'a ContainerRecord, live: Option<&'a LiveRoot>) -> Tree<'a> {
    live.map_or(Tree::Snapshot(record.id.as_str()), |root| Tree::Live(root.live()))
}

fn absent(record: &ContainerRecord, path: &Path) -> Error {
    Error::not_found(format!("Could not find the file {} in container {}", path.display(), record.name))
}
