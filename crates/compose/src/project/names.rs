//! Where a project's files are, and what it is called.

use super::{Loaded, Service};
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

impl Loaded {
    /// What the names of the project's containers begin with.
    pub fn prefix(&self) -> String {
        format!("{}{}", self.project.name, self.separator)
    }

    /// The image that a service's containers are made from.
    pub fn image_of(&self, name: &str, service: &Service) -> String {
        if service.image.is_empty() { format!("{}{name}", self.prefix()) } else { service.image.clone() }
    }

    /// Replicas are told apart by numbers; a name of one's own is for one container.
    pub fn container_name(&self, name: &str, service: &Service, number: i64) -> String {
        match service.container_name.as_str() {
            "" => format!("{}{name}{}{number}", self.prefix(), self.separator),
            own => own.to_owned(),
        }
    }

    /// The name of a container of `run`.
    pub(crate) fn one_off_name(&self, name: &str, slug: &str) -> String {
        let separator = self.separator;
        format!("{}{name}{separator}run{separator}{slug}", self.prefix())
    }
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
