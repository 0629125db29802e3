//! What is kept of a volume.

use crate::clock::now_ns;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume with what only people look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver, as given.
    pub options: BTreeMap<String, String>,
    /// Nanoseconds since the epoch.
    pub created_ns: i128,
    /// The engine made it without a name.
    pub anonymous: bool,
    /// Since when it is known that no container has it, nanoseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since_ns: Option<i128>,
    /// What was begun with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
}

/// A change that is written before it is made, for whoever comes after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Pending {
    /// Its content is on its way: undone after a crash.
    Make,
    /// Its directory has that name still: renamed after a crash.
    Rename { from: String },
    /// It goes: removed after a crash.
    Remove,
}

impl VolumeRecord {
    pub(super) fn new(
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            labels,
            options,
            created_ns: now_ns(),
            anonymous: false,
            unused_since_ns: None,
            pending: None,
        }
    }
}
