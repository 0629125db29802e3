//! The context of a build: a directory without what its `.dockerignore` names.

use super::ignore::Ignore;
use super::pack::{self, Owner};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tar::Builder;

/// A directory to build from.
#[derive(Debug)]
pub(crate) struct Context {
    dir: PathBuf,
    ignore: Ignore,
    /// The Dockerfile within the context, which is always sent.
    dockerfile: String,
    /// A Dockerfile from elsewhere, sent under the name above.
    extra: Option<Vec<u8>>,
}

/// Where the Dockerfile comes from.
#[derive(Debug)]
pub(crate) enum Dockerfile<'a> {
    /// A path, or the default.
    File(Option<&'a Path>),
    /// Its content, read from standard input.
    Content(Vec<u8>),
}

const DEFAULT: &str = "Dockerfile";
const IGNORE_FILE: &str = ".dockerignore";

impl Context {
    /// Looks at the directory; fails when there is no Dockerfile.
    pub(crate) fn new(dir: &Path, dockerfile: Dockerfile<'_>) -> Result<Self, String> {
        let dir = fs::canonicalize(dir)
            .map_err(|e| format!("unable to prepare context: path \"{}\": {e}", dir.display()))?;
        if !dir.is_dir() {
            return Err(format!("unable to prepare context: {} is not a directory", dir.display()));
        }
        let (name, extra) = match dockerfile {
            Dockerfile::Content(content) => (hidden_name(), Some(content)),
            Dockerfile::File(path) => {
                let path = path.map_or_else(|| default_file(&dir), Path::to_owned);
                let full = fs::canonicalize(&path).map_err(|e| {
                    format!(
                        "unable to prepare context: unable to evaluate symlinks in Dockerfile path: {}: {e}",
                        path.display()
                    )
                })?;
                match full.strip_prefix(&dir) {
                    Ok(inside) => (inside.to_string_lossy().into_owned(), None),
                    Err(_) => {
                        let content = fs::read(&full).map_err(|e| format!("read {}: {e}", full.display()))?;
                        (hidden_name(), Some(content))
                    }
                }
            }
        };
        let ignore = read_ignore(&dir, &name)?;
        Ok(Self { dir, ignore, dockerfile: name, extra })
    }

    /// The Dockerfile's name within the archive.
    pub(crate) fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// Writes the context as a tar. Owners are root's, so that the same files give the same cache.
    pub(crate) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut archive = Builder::new(out);
        let mut pending = vec![PathBuf::new()];
        while let Some(dir) = pending.pop() {
            let mut entries = fs::read_dir(self.dir.join(&dir))?.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            let mut below = Vec::new();
            for entry in entries {
                let name = dir.join(entry.file_name());
                let is_dir = entry.file_type()?.is_dir();
                if self.is_sent(&name) {
                    pack::add(&mut archive, &entry.path(), &name, Owner::Root)?;
                } else if !self.ignore.may_keep_below(&name)
                    && !Path::new(&self.dockerfile).starts_with(&name)
                {
                    continue;
                }
                if is_dir {
                    below.push(name);
                }
            }
            pending.extend(below.into_iter().rev());
        }
        if let Some(content) = &self.extra {
            pack::add_bytes(&mut archive, &self.dockerfile, content)?;
        }
        archive.into_inner()?.flush()
    }

    fn is_sent(&self, name: &Path) -> bool {
        name == Path::new(&self.dockerfile) || name == Path::new(IGNORE_FILE) || !self.ignore.excludes(name)
    }
}

fn default_file(dir: &Path) -> PathBuf {
    let usual = dir.join(DEFAULT);
    let lower = dir.join(DEFAULT.to_lowercase());
    if !usual.exists() && lower.exists() { lower } else { usual }
}

/// A name that no file of the context has.
pub(crate) fn hidden_name() -> String {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!(".dockerfile.{:x}{:x}", std::process::id(), nanos)
}

fn read_ignore(dir: &Path, dockerfile: &str) -> Result<Ignore, String> {
    for name in [format!("{dockerfile}{IGNORE_FILE}"), IGNORE_FILE.to_owned()] {
        let path = dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Ignore::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("read {}: {error}", path.display())),
        }
    }
    Ok(Ignore::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(context: &Context) -> Vec<String> {
        let mut bytes = Vec::new();
        context.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Dockerfile", "FROM scratch");
        write(".dockerignore", "*\n!src\nsrc/tmp\n");
        write("src/main.c", "int main;");
        write("src/tmp/x", "x");
        write("other/y", "y");
        let context = Context::new(dir.path(), Dockerfile::File(None)).unwrap();
        assert_eq!(names(&context), [".dockerignore", "Dockerfile", "src", "src/main.c"]);
        let context = Context::new(dir.path(), Dockerfile::Content(b"FROM x".to_vec())).unwrap();
        assert!(names(&context).last().unwrap().starts_with(".dockerfile."));
        write("other/My.Dockerfile", "FROM y");
        write("other/My.Dockerfile.dockerignore", "src\n");
        let path = dir.path().join("other/My.Dockerfile");
        let context = Context::new(dir.path(), Dockerfile::File(Some(&path))).unwrap();
        assert_eq!(context.dockerfile(), "other/My.Dockerfile");
        assert!(!names(&context).contains(&"src".to_owned()));
        fs::remove_file(dir.path().join("Dockerfile")).unwrap();
        assert!(Context::new(dir.path(), Dockerfile::File(None)).unwrap_err().contains("Dockerfile"));
    }
}
