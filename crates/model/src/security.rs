//! SELinux: what a container is asked to be labelled, and the labels that come of it.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is asked of a container's labels (`--security-opt label=`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelOption {
    /// The process is not confined.
    Disable,
    /// The user of process and files.
    User(String),
    /// The role of the process.
    Role(String),
    /// The type of the process.
    Type(String),
    /// The level of process and files.
    Level(String),
    /// The type of the files.
    FileType(String),
}

impl FromStr for LabelOption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "disable" {
            return Ok(Self::Disable);
        }
        let Some((key, value)) = text.split_once(':') else {
            return Err(Error::invalid(format!(
                "bad label option {text:?}, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value"
            )));
        };
        let value = value.to_owned();
        Ok(match key {
            "user" => Self::User(value),
            "role" => Self::Role(value),
            "type" => Self::Type(value),
            "level" => Self::Level(value),
            "filetype" => Self::FileType(value),
            _ => {
                return Err(Error::invalid(format!(
                    "bad label option {key:?}, valid options 'disable, user, role, level, type, filetype'"
                )));
            }
        })
    }
}

/// Whether the files of a mount are given the container's label (`:z`, `:Z`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relabel {
    /// They keep theirs.
    #[default]
    No,
    /// So that all containers get at them.
    Shared,
    /// So that no other container does.
    Private,
}

impl Relabel {
    /// By default, for records that do not say.
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }

    /// The word of a mount's mode; empty for none.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Shared => "z",
            Self::Private => "Z",
        }
    }
}

/// A label: `user:role:type`, and `:level` where the policy has levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    user: String,
    role: String,
    kind: String,
    level: String,
}

impl FromStr for Context {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(user), Some(role), Some(kind)) => {
                Ok(Self { user, role, kind, level: parts.next().unwrap_or_default() })
            }
            _ => Err(Error::invalid(format!("invalid Label: {text:?} is not user:role:type[:level]"))),
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        if self.level.is_empty() { Ok(()) } else { write!(f, ":{}", self.level) }
    }
}

impl Context {
    /// The same at another level; nothing changes where the policy has none.
    pub fn at(&self, level: &str) -> Self {
        let level = if self.level.is_empty() { "" } else { level };
        Self { level: level.to_owned(), ..self.clone() }
    }

    /// Its level; empty where the policy has none.
    pub fn level(&self) -> &str {
        &self.level
    }

    /// The options that make another container's processes the same, as for one that shares namespaces.
    pub fn as_options(&self) -> Vec<LabelOption> {
        let mut options = vec![
            LabelOption::User(self.user.clone()),
            LabelOption::Role(self.role.clone()),
            LabelOption::Type(self.kind.clone()),
        ];
        if !self.level.is_empty() {
            options.push(LabelOption::Level(self.level.clone()));
        }
        options
    }
}

/// What the loaded policy says containers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts {
    /// Their processes.
    pub process: Context,
    /// Their files.
    pub file: Context,
}

/// The labels of a container; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Of its processes.
    pub process: String,
    /// Of its files.
    pub mount: String,
}

/// How many categories a policy for containers has.
const CATEGORIES: u32 = 1024;

/// The level of files of containers that are not confined: no other one has it.
pub const OPEN_LEVEL: &str = "s0:c1022,c1023";

impl Contexts {
    /// From the lines of `lxc_contexts`; `None` when processes or files have no label there.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
            let mut pairs = lines.filter_map(|line| line.split_once('='));
            let (_, value) = pairs.find(|(name, _)| name.trim() == key)?;
            value.trim().trim_matches('"').parse().ok()
        };
        Some(Self { process: value("process")?, file: value("file")? })
    }

    /// The labels for what is asked. `level` is the container's own, unless it asks for one.
    pub fn labels(&self, level: &str, options: &[LabelOption]) -> Labels {
        let (mut process, mut file) = (self.process.at(level), self.file.at(level));
        for option in options {
            match option {
                LabelOption::Disable => {
                    let file = Context { level: OPEN_LEVEL.to_owned(), ..self.file.clone() };
                    return Labels { process: String::new(), mount: file.to_string() };
                }
                LabelOption::User(user) => {
                    process.user.clone_from(user);
                    file.user.clone_from(user);
                }
                LabelOption::Role(role) => process.role.clone_from(role),
                LabelOption::Type(kind) => process.kind.clone_from(kind),
                LabelOption::Level(level) => {
                    process.level.clone_from(level);
                    file.level.clone_from(level);
                }
                LabelOption::FileType(kind) => file.kind.clone_from(kind),
            }
        }
        Labels { process: process.to_string(), mount: file.to_string() }
    }
}

/// A level of two categories from random numbers; `None` when they come to no level that a container may have.
pub fn level(random: [u32; 2]) -> Option<String> {
    let [a, b] = random.map(|number| number % CATEGORIES);
    let level = format!("s0:c{},c{}", a.min(b), a.max(b));
    (a != b && level != OPEN_LEVEL).then_some(level)
}

/// The level of a label; empty for one without.
pub fn level_of(label: &str) -> &str {
    label.splitn(4, ':').nth(3).unwrap_or_default()
}

/// What a relabelled mount's files are, for a container's mount label.
///
/// # Errors
/// `Invalid` for what is no label.
pub fn file_label(mount_label: &str, relabel: Relabel) -> Result<String> {
    match relabel {
        Relabel::Shared => Ok(mount_label.parse::<Context>()?.at("s0").to_string()),
        _ => Ok(mount_label.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let text = "# comment\nprocess = \"system_u:system_r:container_t:s0\"\n\
                    file = \"system_u:object_r:container_file_t:s0\"\nro_file=\"x\"\n";
        Contexts::parse(text).unwrap()
    }

    fn labels(options: &[&str]) -> Labels {
        let options: Vec<_> = options.iter().map(|o| o.parse().unwrap()).collect();
        contexts().labels("s0:c1,c2", &options)
    }

    #[test]
    fn a_container_has_its_own_level() {
        let own = labels(&[]);
        assert_eq!(own.process, "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(own.mount, "system_u:object_r:container_file_t:s0:c1,c2");
    }

    #[test]
    fn options_change_process_and_files() {
        let asked = labels(&["user:u", "role:r", "type:t", "level:s0:c5", "filetype:f"]);
        assert_eq!(asked.process, "u:r:t:s0:c5");
        assert_eq!(asked.mount, "u:object_r:f:s0:c5");
        let open = labels(&["type:t", "disable"]);
        assert_eq!(open.process, "");
        assert_eq!(open.mount, "system_u:object_r:container_file_t:s0:c1022,c1023");
    }

    #[test]
    fn a_policy_without_levels_gets_none() {
        let contexts = Contexts::parse("process=u:r:t\nfile=u:object_r:f").unwrap();
        assert_eq!(contexts.labels("s0:c1,c2", &[]).process, "u:r:t");
        assert!(Contexts::parse("process=u:r:t").is_none());
        assert!(Contexts::parse("process=u\nfile=u:object_r:f").is_none());
    }

    #[test]
    fn wrong_options_are_named() {
        let refused = |text: &str| text.parse::<LabelOption>().unwrap_err().to_string();
        assert!(refused("nested").starts_with("bad label option \"nested\", valid options 'disable' or"));
        assert!(refused("kind:x").starts_with("bad label option \"kind\", valid options"));
    }

    #[test]
    fn levels_are_two_categories_in_order() {
        assert_eq!(level([1030, 2]).as_deref(), Some("s0:c2,c6"));
        assert_eq!(level([7, 7 + 1024]), None);
        assert_eq!(level([1023, 1022]), None);
        assert_eq!(level_of("u:r:t:s0:c1,c2"), "s0:c1,c2");
        assert_eq!(level_of("u:r:t"), "");
    }

    #[test]
    fn who_shares_namespaces_has_the_same_label() {
        let process: Context = "u:r:t:s0:c3,c4".parse().unwrap();
        let labels = contexts().labels("s0:c1,c2", &process.as_options());
        assert_eq!(labels.process, "u:r:t:s0:c3,c4");
        assert_eq!(labels.mount, "u:object_r:container_file_t:s0:c3,c4");
    }

    #[test]
    fn shared_files_have_no_category() {
        let label = "u:object_r:f:s0:c1,c2";
        assert_eq!(file_label(label, Relabel::Shared).unwrap(), "u:object_r:f:s0");
        assert_eq!(file_label(label, Relabel::Private).unwrap(), label);
    }
}
