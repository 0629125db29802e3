//! A directory that the engine may ask for, file by file.

use crate::archive::ignore::Ignore;
use crate::failure::Failure;
use std::fs::{self, Metadata};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use wharf_grpc::fsutil::{FileKind, Tree, go_mode};
use wharf_grpc::proto::files::Stat;

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) enum Directory {
    /// On the disk.
    Path(PathBuf),
    /// One file, by its name and content.
    File(String, Vec<u8>),
}

impl Directory {
    /// One on the disk.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let full = fs::canonicalize(path).map_err(|e| Failure::file("open the context", path, &e))?;
        match full.is_dir() {
            true => Ok(Self::Path(full)),
            false => Err(Failure::new(format!("the context {} is no directory", path.display()))),
        }
    }

    /// What of it is sent: without what `excluded` patterns say; with `only` nothing but these and what is in them.
    pub(super) fn list(&self, excluded: &[String], only: &[String]) -> io::Result<Listed> {
        let mut listed = Listed { files: Vec::new() };
        match self {
            Self::File(name, content) => {
                let stat = Stat {
                    path: name.clone(),
                    mode: go_mode(FileKind::File, 0o644),
                    size: content.len() as i64,
                    ..Stat::default()
                };
                listed.files.push((stat, Content::Bytes(content.clone())));
            }
            Self::Path(root) => {
                let ignore = Ignore::parse(&excluded.join("\n"));
                let wanted = |path: &Path| {
                    only.is_empty()
                        || only.iter().any(|name| {
                            let name = Path::new(name.trim_matches('/'));
                            path.starts_with(name) || name.starts_with(path)
                        })
                };
                walk(root, Path::new(""), &|path| wanted(path), &ignore, &mut listed.files)?;
            }
        }
        Ok(listed)
    }
}

/// Files in the order in which they are sent.
pub(super) struct Listed {
    files: Vec<(Stat, Content)>,
}

enum Content {
    None,
    Bytes(Vec<u8>),
    Path(PathBuf),
}

impl Tree for Listed {
    fn files(&self) -> Vec<Stat> {
        self.files.iter().map(|(stat, _)| stat.clone()).collect()
    }

    fn open(&self, at: usize) -> io::Result<Box<dyn Read + '_>> {
        match &self.files[at].1 {
            Content::Path(path) => Ok(Box::new(fs::File::open(path).map_err(|e| named(path, &e))?)),
            Content::Bytes(bytes) => Ok(Box::new(Cursor::new(bytes))),
            Content::None => Ok(Box::new(io::empty())),
        }
    }
}

fn walk(
    root: &Path,
    below: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    ignore: &Ignore,
    found: &mut Vec<(Stat, Content)>,
) -> io::Result<()> {
    let full = root.join(below);
    let entries = fs::read_dir(&full).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match below.as_os_str().is_empty() {
        true => entries.map_err(|e| named(&full, &e))?,
        false => still_there(&full, entries)?.unwrap_or_default(),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = below.join(entry.file_name());
        if !wanted(&name) {
            continue;
        }
        let Some(about) = still_there(&entry.path(), entry.path().symlink_metadata())? else { continue };
        let is_excluded = ignore.excludes(&name);
        if is_excluded && !(about.is_dir() && ignore.may_keep_below(&name)) {
            continue;
        }
        let before = found.len();
        // A socket is nothing to build with.
        let described = still_there(&entry.path(), describe(&entry.path(), &name, &about))?;
        if let Some(described) = described.flatten() {
            found.push(described);
        }
        if about.is_dir() {
            walk(root, &name, wanted, ignore, found)?;
            // A directory that is left out comes only for what is in it.
            if is_excluded && found.len() == before + 1 {
                found.pop();
            }
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// `None` for what went away since its directory was read: others may work in it meanwhile.
fn still_there<T>(path: &Path, found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(named(path, &e)),
    }
}

/// Names travel as text. One that is none would come as another, or as that of another file.
fn text(name: &Path) -> io::Result<String> {
    let no_text = || io::Error::new(io::ErrorKind::InvalidData, "there is a name in it that is no UTF-8");
    name.to_str().map(str::to_owned).ok_or_else(no_text)
}

fn describe(path: &Path, name: &Path, about: &Metadata) -> io::Result<Option<(Stat, Content)>> {
    let kind = match about.file_type() {
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_symlink() => FileKind::Symlink,
        kind if kind.is_file() => FileKind::File,
        _ => return Ok(None),
    };
    let linkname = match kind {
        FileKind::Symlink => text(&fs::read_link(path)?)?,
        _ => String::new(),
    };
    let stat = Stat {
        path: text(name)?,
        mode: go_mode(kind, about.permissions().mode() & 0o7777),
        // Whoever builds is not who owns the files in the image.
        uid: 0,
        gid: 0,
        size: if kind == FileKind::File { about.len() as i64 } else { 0 },
        modified_ns: about.mtime() * 1_000_000_000 + about.mtime_nsec(),
        linkname,
        ..Stat::default()
    };
    let content = if kind == FileKind::File { Content::Path(path.to_owned()) } else { Content::None };
    Ok(Some((stat, content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Directory, excluded: &[&str], only: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let listed = directory.list(&own(excluded), &own(only)).unwrap();
        listed.files().into_iter().map(|stat| stat.path).collect()
    }

    #[test]
    fn what_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/x", "a/y", "b.d/z", "b/w"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink("a/x", dir.path().join("link")).unwrap();
        let all = Directory::open(dir.path()).unwrap();
        assert_eq!(names(&all, &[], &[]), ["a", "a/x", "a/y", "b", "b/w", "b.d", "b.d/z", "link"]);
        assert_eq!(names(&all, &["*", "!a/x"], &[]), ["a", "a/x"]);
        assert_eq!(names(&all, &[], &["a/y", "absent"]), ["a", "a/y"]);
        let mut content = String::new();
        let listed = all.list(&[], &["a/y".to_owned()]).unwrap();
        listed.open(1).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "a/y");
        let one = Directory::File("Dockerfile".into(), b"FROM x".to_vec());
        assert_eq!(names(&one, &[], &[]), ["Dockerfile"]);
        assert!(Directory::open(&dir.path().join("link")).is_err());
    }

    #[test]
    fn names_that_are_no_text_are_refused_unless_they_are_left_out() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"b\xff")), "").unwrap();
        let all = Directory::open(dir.path()).unwrap();
        let refused = all.list(&[], &[]).err().unwrap().to_string();
        assert!(
            refused.contains("no UTF-8") && refused.contains(&dir.path().display().to_string()),
            "{refused}"
        );
        assert!(names(&all, &["b*"], &[]).is_empty());
    }

    #[test]
    fn what_goes_away_meanwhile_is_not_there() {
        let gone = |found: io::Result<()>| still_there(Path::new("/x"), found);
        assert!(matches!(gone(Err(io::ErrorKind::NotFound.into())), Ok(None)));
        assert!(gone(Err(io::ErrorKind::PermissionDenied.into())).unwrap_err().to_string().contains("/x: "));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "f").unwrap();
        let listed = Directory::open(dir.path()).unwrap().list(&[], &[]).unwrap();
        fs::remove_file(dir.path().join("f")).unwrap();
        assert!(listed.open(0).err().unwrap().to_string().contains("/f: "));
    }
}
