//! What log drivers tell of a container beside each line.

use std::collections::BTreeMap;
use wharf_model::container::{ContainerRecord, LogSpec};
use wharf_model::{Error, ErrorKind, Result};

/// Docker's tag where none is asked for.
const DEFAULT_TAG: &str = "{{.ID}}";

/// What is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image_id: String,
    pub(crate) image_name: String,
    pub(crate) command: String,
    pub(crate) created_ns: i128,
    pub(crate) tag: String,
    /// Labels and variables that were chosen.
    pub(crate) extra: BTreeMap<String, String>,
    /// The host's name.
    pub(crate) host: String,
}

impl About {
    pub(crate) fn of(record: &ContainerRecord) -> Result<Self> {
        let mut about = Self {
            id: record.id.to_string(),
            name: record.name.clone(),
            image_id: record.image.to_string(),
            image_name: record.spec.image.clone(),
            command: record.command().join(" "),
            created_ns: record.created_ns,
            tag: String::new(),
            extra: chosen(record)?,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        about.tag = about.fill(record.spec.log.option("tag").unwrap_or(DEFAULT_TAG))?;
        Ok(about)
    }

    /// The tag's template with its places filled.
    fn fill(&self, template: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let invalid = || {
                Error::invalid(format!(
                    "invalid tag template {template:?}: {{{{.ID}}}}, {{{{.FullID}}}}, {{{{.Name}}}}, {{{{.ImageID}}}}, {{{{.ImageFullID}}}}, {{{{.ImageName}}}}, {{{{.Command}}}} and {{{{.DaemonName}}}} are known"
                ))
            };
            let (place, after) = after.split_once("}}").ok_or_else(invalid)?;
            filled.push_str(before);
            filled.push_str(match place.trim() {
                ".ID" => self.id.get(..12).unwrap_or(&self.id),
                ".FullID" => &self.id,
                ".Name" => &self.name,
                ".ImageID" => {
                    let hex = self.image_id.split(':').next_back().unwrap_or_default();
                    hex.get(..12).unwrap_or(hex)
                }
                ".ImageFullID" => &self.image_id,
                ".ImageName" => &self.image_name,
                ".Command" => &self.command,
                ".DaemonName" => "wharf",
                _ => return Err(invalid()),
            });
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Checks the options that choose what is told.
pub(crate) fn check(log: &LogSpec) -> Result<()> {
    About::default().fill(log.option("tag").unwrap_or_default())?;
    pattern(log, "labels-regex")?;
    pattern(log, "env-regex").map(drop)
}

fn pattern(log: &LogSpec, name: &str) -> Result<Option<regex_lite::Regex>> {
    let compile = |text| {
        regex_lite::Regex::new(text)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("invalid log opt {name}"), e))
    };
    log.option(name).map(compile).transpose()
}

/// The labels and variables that the options `labels`, `labels-regex`, `env` and `env-regex` choose.
fn chosen(record: &ContainerRecord) -> Result<BTreeMap<String, String>> {
    let log = &record.spec.log;
    let listed =
        |name: &str, key: &str| log.option(name).is_some_and(|list| list.split(',').any(|k| k == key));
    let (labels, variables) = (pattern(log, "labels-regex")?, pattern(log, "env-regex")?);
    let mut chosen = BTreeMap::new();
    for (key, value) in &record.spec.labels {
        if listed("labels", key) || labels.as_ref().is_some_and(|p| p.is_match(key)) {
            chosen.insert(key.clone(), value.clone());
        }
    }
    for variable in record.env() {
        let Some((key, value)) = variable.split_once('=') else { continue };
        if listed("env", key) || variables.as_ref().is_some_and(|p| p.is_match(key)) {
            chosen.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(chosen)
}

/// What each line of the file tells, as JSON; nothing when that is nothing.
pub(crate) fn attributes(record: &ContainerRecord) -> Result<String> {
    let log = &record.spec.log;
    if !["env", "env-regex", "labels", "labels-regex", "tag"].iter().any(|name| log.option(name).is_some()) {
        return Ok(String::new());
    }
    let about = About::of(record)?;
    let mut all = about.extra;
    if log.option("tag").is_some() {
        all.insert("tag".to_owned(), about.tag);
    }
    if all.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(&all)
        .map_err(|e| Error::wrap(ErrorKind::Internal, "encode the log's attributes", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_filled() {
        let about = About {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            image_id: "sha256:fedcba9876543210".into(),
            image_name: "nginx:1".into(),
            ..About::default()
        };
        let fill = |template| about.fill(template);
        assert_eq!(fill("{{.ImageName}}/{{ .Name }}/{{.ID}}").unwrap(), "nginx:1/web/0123456789ab");
        assert_eq!(fill("plain {{.ImageID}}").unwrap(), "plain fedcba987654");
        assert!(fill("{{.Nonsense}}").is_err() && fill("{{.ID").is_err());
    }
}
