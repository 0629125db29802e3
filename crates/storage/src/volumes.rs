//! Volumes of the `local` driver: `volumes/<name>/_data`.

use crate::disk::{failed, make_dir, remove_tree};
use std::path::{Path, PathBuf};
use wharf_model::ids::is_valid_name;
use wharf_model::volumes::Volumes;
use wharf_model::{Error, Result};

/// The `Volumes` seam on a directory.
pub struct LocalVolumes {
    root: PathBuf,
}

impl LocalVolumes {
    /// Opens the store below `root`, made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.join("volumes");
        make_dir(&root)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o701);
        std::fs::set_permissions(&root, mode).map_err(|e| failed("set the mode of", &root, e))?;
        Ok(Self { root })
    }

    /// Both are made of a name that was checked: it can lead nowhere else.
    fn dir(&self, name: &str) -> Result<PathBuf> {
        if is_valid_name(name) && name.len() <= 255 {
            return Ok(self.root.join(name));
        }
        Err(Error::invalid(format!(
            "{name:?} includes invalid characters for a local volume name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are \
             allowed, two to 255 of them; for a directory of the host give its absolute path"
        )))
    }
}

impl Volumes for LocalVolumes {
    fn create(&self, name: &str) -> Result<PathBuf> {
        let data = self.dir(name)?.join("_data");
        if !data.is_dir() {
            make_dir(&data)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&data, mode).map_err(|e| failed("set the mode of", &data, e))?;
        }
        Ok(data)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let data = self.dir(name)?.join("_data");
        if data.is_dir() { Ok(data) } else { Err(Error::not_found(format!("get {name}: no such volume"))) }
    }

    fn remove(&self, name: &str) -> Result<()> {
        remove_tree(&self.dir(name)?)
    }

    fn list(&self) -> Result<Vec<String>> {
        let unreadable = |e| failed("list", &self.root, e);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            // What has another name was not made here.
            names.extend(name.to_str().filter(|n| is_valid_name(n)).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn size(&self, name: &str) -> Result<u64> {
        let path = self.path(name)?;
        let dir = std::fs::File::open(&path).map_err(|e| failed("open", &path, e))?;
        crate::snapshots::tree_size(&dir).map_err(|e| failed("measure", &path, e))
    }

    fn is_empty(&self, name: &str) -> Result<bool> {
        let path = self.path(name)?;
        Ok(std::fs::read_dir(&path).map_err(|e| failed("list", &path, e))?.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_model::ErrorKind;

    #[test]
    fn a_volume_lives_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = LocalVolumes::open(dir.path()).unwrap();
        assert_eq!(volumes.path("data").unwrap_err().kind(), ErrorKind::NotFound);
        let path = volumes.create("data").unwrap();
        assert!(volumes.is_empty("data").unwrap());
        std::fs::write(path.join("a"), "12345").unwrap();
        std::fs::hard_link(path.join("a"), path.join("b")).unwrap();
        assert_eq!(volumes.create("data").unwrap(), path);
        assert_eq!(volumes.size("data").unwrap(), 5);
        assert!(!volumes.is_empty("data").unwrap());
        assert_eq!(volumes.list().unwrap(), ["data"]);
        volumes.remove("data").unwrap();
        volumes.remove("data").unwrap();
        assert!(volumes.list().unwrap().is_empty());
    }

    #[test]
    fn names_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let volumes = LocalVolumes::open(dir.path()).unwrap();
        for bad in ["", ".", "..", "../x", "a/b", "/etc", "-x"] {
            assert_eq!(volumes.create(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
            assert_eq!(volumes.remove(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
    }
}
