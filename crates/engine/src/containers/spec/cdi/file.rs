//! A CDI specification file (Container Device Interface, SPEC.md, versions up to 1.0), and whom it is taken from.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wharf_model::{Error, ErrorKind, Result};

/// The largest specification that is read; one for eight GPUs has some 100 KiB.
const FILE_LIMIT: u64 = 4 << 20;

/// One specification. What is not known of it is refused: a device would lack something.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "cdiVersion")]
    version: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) devices: Vec<Named>,
    #[serde(default)]
    pub(super) container_edits: Edits,
    /// For people.
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, IgnoredAny>,
    #[serde(skip)]
    pub(super) path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(default)]
    pub(super) container_edits: Edits,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, IgnoredAny>,
}

/// What a device changes of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Edits {
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<Node>,
    pub(super) mounts: Vec<Bind>,
    pub(super) hooks: Vec<Hook>,
    #[serde(rename = "additionalGids", alias = "additionalGIDs")]
    pub(super) additional_gids: Vec<u32>,
    pub(super) intel_rdt: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) host_path: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) major: Option<i64>,
    pub(super) minor: Option<i64>,
    pub(super) permissions: String,
    pub(super) file_mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Bind {
    pub(super) host_path: String,
    pub(super) container_path: String,
    pub(super) options: Vec<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Hook {
    pub(super) hook_name: String,
    pub(super) path: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) timeout: Option<u32>,
}

/// Whether a name in a specification directory is one of a specification.
pub(super) fn is_one(path: &Path) -> bool {
    matches!(path.extension().and_then(|e| e.to_str()), Some("json" | "yaml" | "yml"))
}

/// Reads one specification.
pub(super) fn read(path: &Path) -> Result<File> {
    use std::io::Read;
    let what = || format!("read {}", path.display());
    let failed = |e| Error::wrap(ErrorKind::Invalid, what(), e);
    let opened = std::fs::File::open(path).map_err(failed)?;
    owned_by_admin(path, &opened.metadata().map_err(failed)?)?;
    let mut text = String::new();
    opened.take(FILE_LIMIT).read_to_string(&mut text).map_err(failed)?;
    let mut file = parse(&text, path.extension().is_some_and(|e| e == "json"))
        .map_err(|why| Error::invalid(format!("{}: {why}", what())))?;
    if !matches!(file.version.trim_start_matches('v').split_once('.'), Some(("0" | "1", _))) {
        return Err(Error::invalid(format!("{}: cdiVersion {:?} is not known", what(), file.version)));
    }
    path.clone_into(&mut file.path);
    Ok(file)
}

fn parse(text: &str, json: bool) -> std::result::Result<File, String> {
    if json {
        return serde_json::from_str(text).map_err(|e| e.to_string());
    }
    // As YAML 1.1 has it, which the generators of these files write: 0660 is a mode.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// A specification is a program of root's: it has the host's files mounted and hooks run. So neither it nor its directory
/// may be anybody else's to write.
pub(super) fn owned_by_admin(path: &Path, metadata: &Metadata) -> Result<()> {
    const OTHERS_WRITE: u32 = 0o022;
    let us = rustix::process::geteuid().as_raw();
    let why = if metadata.uid() != 0 && metadata.uid() != us {
        format!("it belongs to user {}", metadata.uid())
    } else if metadata.mode() & OTHERS_WRITE != 0 {
        format!("others may write to it (mode {:04o})", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "{} is not used: {why}; device specifications act as root and must be root's alone to change",
        path.display()
    )))
}
