//! Files that are not on this machine: applications in registries (`oci://`); and repositories of Git, which are refused.

use super::paths;
use crate::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands before the name of an application in a registry.
pub const OCI: &str = "oci://";

/// Fetches an application by its name in a registry; where its file is then.
#[derive(Clone)]
pub struct Remote(Arc<Fetch>);

type Fetch = dyn Fn(&str) -> Result<PathBuf, Error> + Send + Sync;

impl Remote {
    /// One that does it so.
    pub fn new(fetch: impl Fn(&str) -> Result<PathBuf, Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fetch))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}

/// Whether a file is not on this machine.
pub fn is_remote(path: &str) -> bool {
    path.starts_with(OCI) || is_git(path)
}

fn is_git(path: &str) -> bool {
    let begins = ["git@", "git://", "ssh://", "github.com/"].iter().any(|prefix| path.starts_with(prefix));
    let at_web = path.starts_with("https://") || path.starts_with("http://");
    begins || at_web
}

/// Where a Compose file is on this machine, fetched where it has to be. A relative path is one from `dir`.
pub fn locate(remote: Option<&Remote>, dir: &Path, path: &str) -> Result<PathBuf, Error> {
    if let Some(name) = path.strip_prefix(OCI) {
        let remote = remote.ok_or_else(|| Error::project(format!("{path}: nobody is there to fetch it")))?;
        return remote.0(name);
    }
    if is_git(path) {
        return Err(Error::project(format!(
            "{path}: Wharf has no Git client to fetch Compose files with: clone the repository, and name the file in it"
        )));
    }
    Ok(paths::join(dir, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind() {
        let remote = Remote::new(|name| Ok(PathBuf::from("/cache").join(name)));
        let at = |path| locate(Some(&remote), Path::new("/d"), path).map_err(|error| error.to_string());
        assert_eq!(at("x/../y.yaml").unwrap(), Path::new("/d/y.yaml"));
        assert_eq!(at("oci://r/a:1").unwrap(), Path::new("/cache/r/a:1"));
        for git in ["https://x/y.git#main:sub", "git@github.com:x/y.git", "ssh://git@x/y"] {
            assert!(at(git).unwrap_err().contains("clone the repository"), "{git}");
        }
    }
}
