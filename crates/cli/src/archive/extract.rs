//! A tar of a container into a directory of this machine.
//!
//! The archive comes from a container, so it is not trusted: nothing is written outside the target, and no
//! link that the archive made is followed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};

/// Where the entries go.
#[derive(Debug)]
pub(crate) struct Target {
    /// Directory that everything stays in.
    pub(crate) dir: PathBuf,
    /// The archive's first directory is called this here; empty when its content goes into `dir` itself.
    pub(crate) name: PathBuf,
    /// Owners as in the archive.
    pub(crate) keep_owner: bool,
    /// Whether the first part of each name is that directory's; else names are whole.
    pub(crate) strip: bool,
}

/// Extracts everything.
pub(crate) fn extract(archive: impl Read, target: &Target) -> io::Result<()> {
    let mut archive = Archive::new(archive);
    // Directories get their mode and time when nothing is written into them any more.
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let inside = rename(&entry.path()?, &target.name, target.strip)?;
        let path = target.dir.join(&inside);
        safe_parents(&target.dir, &inside)?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if entry.header().entry_type().is_dir() {
            if inside.as_os_str().is_empty() {
                continue;
            }
            match fs::create_dir(&path) {
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && fs::symlink_metadata(&path)?.is_dir() => {}
                result => result.map_err(named)?,
            }
            directories.push((path, entry.header().mode()?, entry.header().mtime()?));
        } else {
            write(&mut entry, &path, target).map_err(named)?;
        }
    }
    for (path, mode, mtime) in directories.into_iter().rev() {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
        set_time(&path, mtime)?;
    }
    Ok(())
}

fn write(entry: &mut Entry<'_, impl Read>, path: &Path, target: &Target) -> io::Result<()> {
    let (mode, mtime) = (entry.header().mode()? & 0o7777, entry.header().mtime()?);
    match fs::symlink_metadata(path) {
        Ok(existing) if existing.is_dir() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "cannot overwrite directory with non-directory",
            ));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let link =
        || entry.link_name().and_then(|name| name.ok_or_else(|| io::Error::other("a link without target")));
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        EntryType::Symlink => symlink(link()?, path)?,
        EntryType::Link => {
            let source = rename(&link()?, &target.name, target.strip)?;
            safe_parents(&target.dir, &source)?;
            return fs::hard_link(target.dir.join(source), path);
        }
        EntryType::Fifo => {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode.into(), 0)?;
        }
        // Devices mean nothing outside the container.
        _ => return Ok(()),
    }
    if target.keep_owner {
        lchown(path, u32::try_from(entry.header().uid()?).ok(), u32::try_from(entry.header().gid()?).ok())?;
    }
    match entry.header().entry_type() {
        // To open a pipe is to wait for who writes into it.
        EntryType::Symlink | EntryType::Fifo => Ok(()),
        _ => set_time(path, mtime),
    }
}

/// The entry's path, with its first part renamed where that is to be. `Err` for paths that lead out.
fn rename(path: &Path, name: &Path, strip: bool) -> io::Result<PathBuf> {
    let mut renamed = name.to_owned();
    for (index, part) in path.components().enumerate() {
        match (index, part) {
            // The first part may be `.`, when the content of a directory was asked for, or `/`, when all was.
            (_, Component::CurDir) if !strip => {}
            (0, Component::Normal(_) | Component::CurDir | Component::RootDir) if strip => {}
            (_, Component::Normal(part)) => renamed.push(part),
            _ => return Err(io::Error::other(format!("{} leads out of the archive", path.display()))),
        }
    }
    Ok(renamed)
}

/// Refuses paths whose directories below `dir` are links.
fn safe_parents(dir: &Path, inside: &Path) -> io::Result<()> {
    let mut path = dir.to_owned();
    for part in inside.parent().into_iter().flat_map(Path::components) {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                return Err(io::Error::other(format!(
                    "refusing to write through the link {}",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn set_time(path: &Path, mtime: u64) -> io::Result<()> {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime);
    // A file that its mode makes unreadable keeps the time of now.
    match File::open(path) {
        Ok(file) if file.metadata()?.nlink() > 0 => file.set_modified(time),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack;
    use super::*;

    fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    fn link(builder: &mut tar::Builder<Vec<u8>>, name: &str, to: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_mtime(0);
        builder.append_link(&mut header, name, to).unwrap();
    }

    #[test]
    fn the_first_directory_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = archive(|b| {
            pack::add_bytes(b, "src/a/file", b"content").unwrap();
            link(b, "src/link", "/etc/passwd");
        });
        let target = Target { dir: dir.path().into(), name: "dst".into(), keep_owner: false, strip: true };
        extract(bytes.as_slice(), &target).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("dst/a/file")).unwrap(), "content");
        assert_eq!(fs::read_link(dir.path().join("dst/link")).unwrap(), Path::new("/etc/passwd"));
        extract(bytes.as_slice(), &target).unwrap();
    }

    #[test]
    fn nobody_waits_for_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = archive(|b| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(EntryType::Fifo);
            header.set_size(0);
            header.set_mode(0o600);
            header.set_mtime(1);
            b.append_data(&mut header, "pipe", io::empty()).unwrap();
        });
        let target = Target { dir: dir.path().into(), name: PathBuf::new(), keep_owner: false, strip: false };
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(extract(bytes.as_slice(), &target)));
        ended.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits").unwrap();
        assert!(!fs::symlink_metadata(dir.path().join("pipe")).unwrap().is_file());
    }

    #[test]
    fn nothing_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let target = Target { dir: inner, name: "x".into(), keep_owner: false, strip: true };
        let bytes = archive(|b| {
            link(b, "r/out", "../..");
            pack::add_bytes(b, "r/out/escaped", b"!").unwrap();
        });
        assert!(extract(bytes.as_slice(), &target).unwrap_err().to_string().contains("refusing"));
        assert!(!dir.path().join("escaped").exists());
        assert!(rename(Path::new("a/../../b"), Path::new("x"), true).is_err());
    }
}
