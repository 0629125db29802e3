//! Files that are not on this machine: applications in registries (`oci://`), and repositories of Git.

use super::paths;
use crate::error::Error;
use crate::project::names::FILES;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands before the name of an application in a registry.
pub const OCI: &str = "oci://";

/// What is fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// An application, by its name in a registry.
    Application(String),
    /// A repository: its address with a reference, and a path in it, which may be empty.
    Repository(String, String),
}

/// Fetches; where the Compose file, or the path of a repository, is then.
#[derive(Clone)]
pub struct Remote(Arc<Fetch>);

type Fetch = dyn Fn(&Wanted) -> Result<PathBuf, Error> + Send + Sync;

impl Remote {
    /// One that does it so.
    pub fn new(fetch: impl Fn(&Wanted) -> Result<PathBuf, Error> + Send + Sync + 'static) -> Self {
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

/// A repository's address without the path in it, and that.
fn split(address: &str) -> (String, String) {
    let (url, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (reference, path) = fragment.split_once(':').unwrap_or((fragment, ""));
    let url = if reference.is_empty() { url.to_owned() } else { format!("{url}#{reference}") };
    (url, path.trim_matches('/').to_owned())
}

/// Where a Compose file is on this machine, fetched where it has to be. A relative path is one from `dir`.
pub fn locate(remote: Option<&Remote>, dir: &Path, path: &str) -> Result<PathBuf, Error> {
    let wanted = match path.strip_prefix(OCI) {
        Some(name) => Wanted::Application(name.to_owned()),
        None if is_git(path) => {
            let (address, inside) = split(path);
            Wanted::Repository(address, inside)
        }
        None => return Ok(paths::join(dir, path)),
    };
    let remote = remote.ok_or_else(|| Error::project(format!("{path}: nobody is there to fetch it")))?;
    let found = remote.0(&wanted)?;
    if !found.is_dir() {
        return Ok(found);
    }
    let file = FILES.iter().map(|name| found.join(name)).find(|file| file.is_file());
    file.ok_or_else(|| Error::project(format!("{path}: there is no Compose file in it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind() {
        let kept = tempfile::tempdir().unwrap();
        let repository = kept.path().to_owned();
        std::fs::create_dir(repository.join("sub")).unwrap();
        std::fs::write(repository.join("sub/compose.yaml"), "").unwrap();
        let expected = repository.join("sub/compose.yaml");
        let remote = Remote::new(move |wanted| match wanted {
            Wanted::Application(name) => Ok(PathBuf::from("/cache").join(name)),
            Wanted::Repository(address, inside) => {
                assert_eq!(address, "https://x/y.git#main");
                Ok(repository.join(inside))
            }
        });
        let at = |path| locate(Some(&remote), Path::new("/d"), path).map_err(|error| error.to_string());
        assert_eq!(at("x/../y.yaml").unwrap(), Path::new("/d/y.yaml"));
        assert_eq!(at("oci://r/a:1").unwrap(), Path::new("/cache/r/a:1"));
        assert_eq!(at("https://x/y.git#main:sub").unwrap(), expected);
        assert_eq!(at("https://x/y.git#main:sub/compose.yaml").unwrap(), expected);
        assert!(at("https://x/y.git#main").unwrap_err().contains("no Compose file"));
        assert_eq!(split("git@x:y.git"), ("git@x:y.git".to_owned(), String::new()));
    }
}
