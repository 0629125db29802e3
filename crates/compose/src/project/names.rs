//! Where a project's files are, and what it is called.

use crate::error::Error;
use std::path::{Path, PathBuf};

/// Names of Compose files, the one that wins first.
pub const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// The files in a directory or the nearest above it that has one: the file, and what goes over it.
pub fn find(dir: &Path) -> Option<Vec<PathBuf>> {
    for dir in dir.ancestors() {
        let there = |names: &[&str]| names.iter().map(|name| dir.join(name)).find(|path| path.is_file());
        if let Some(file) = there(&FILES) {
            return Some([Some(file), there(&OVERRIDES)].into_iter().flatten().collect());
        }
    }
    None
}

/// A name made of any text: in lower case, without what no name has.
pub fn normalize(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c))
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// Refuses a name that is none.
pub fn check(name: &str) -> Result<(), Error> {
    if !name.is_empty() && normalize(name) == name {
        return Ok(());
    }
    Err(Error::project(format!(
        "invalid project name {name:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores \
         as well as start with a letter or number"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(normalize("My.App_1-x"), "myapp_1-x");
        assert_eq!(normalize("__a"), "a");
        assert!(check("a-b_1").is_ok() && check("A").is_err() && check("").is_err() && check("-a").is_err());
    }
}
