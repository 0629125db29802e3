//! The image configuration: OCI's fields and those only Docker has (OCI image specification, config.md).
//!
//! Docker's additions are `Healthcheck`, `OnBuild`, `Shell` and `ArgsEscaped`. `null` reads as absent, which
//! is what Docker writes for empty lists.

use crate::digest::DiffId;
use crate::platform::Platform;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An image's configuration document. The digest of its bytes is the image's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How a container of it starts.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub config: Config,
    /// Its layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How it came to be, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::null::as_default")]
    pub history: Vec<History>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed tars, bottom first.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How a container of an image starts unless it is told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `user[:group]`, names or numbers.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "crate::null::as_default")]
    pub user: String,
    /// `port[/protocol]`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", with = "crate::null::set_as_map")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::null::as_default")]
    pub env: Vec<String>,
    /// The program and its fixed arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments, or the program when there is no entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that are volumes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", with = "crate::null::set_as_map")]
    pub volumes: BTreeSet<String>,
    /// Where the program starts.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "crate::null::as_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::null::as_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds the program has to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Docker: whether the command is already escaped (Windows).
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "crate::null::as_default")]
    pub args_escaped: bool,
    /// Docker: how to see that the program is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Docker: instructions for images built from this one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::null::as_default")]
    pub on_build: Vec<String>,
    /// Docker: the shell of commands in shell form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// How to see that a container's program is well. Durations in nanoseconds; 0 or absent means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", …]` runs, `["CMD-SHELL", line]` runs by the shell.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::null::as_default")]
    pub test: Vec<String>,
    /// Nanoseconds between checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Nanoseconds one check may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Nanoseconds in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Nanoseconds between checks in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_writes() {
        let json = r#"{
            "architecture": "arm64", "variant": "v8", "os": "linux", "created": "2024-01-01T00:00:00Z",
            "container": "ignored", "docker_version": "20.10",
            "config": {
                "Hostname": "", "User": "", "Env": ["PATH=/bin"], "Cmd": ["sh"], "Entrypoint": null,
                "ExposedPorts": {"80/tcp": {}}, "Volumes": null, "Labels": null, "OnBuild": null,
                "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 1000000000, "Retries": 3},
                "Shell": ["/bin/bash", "-c"], "ArgsEscaped": true
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
            "history": [{"created_by": "CMD [\"sh\"]", "empty_layer": true}]
        }"#;
        let config: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.platform.variant.as_deref(), Some("v8"));
        assert_eq!(config.config.exposed_ports.iter().next().map(String::as_str), Some("80/tcp"));
        assert_eq!(config.config.healthcheck.as_ref().map(|h| h.retries), Some(3));
        assert!(config.config.args_escaped && config.config.entrypoint.is_none());
        assert_eq!(config.rootfs.diff_ids.len(), 1);
        assert!(config.history[0].empty_layer);
        let again: ImageConfig = serde_json::from_slice(&serde_json::to_vec(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn writes_maps_where_the_format_has_maps() {
        let mut config = ImageConfig::default();
        config.config.volumes.insert("/data".into());
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["config"]["Volumes"], serde_json::json!({"/data": {}}));
        assert_eq!(json["rootfs"], serde_json::json!({"type": "layers", "diff_ids": []}));
    }

    #[test]
    fn a_null_config_is_an_empty_one() {
        let config: ImageConfig = serde_json::from_str(r#"{"os":"linux","config":null}"#).unwrap();
        assert_eq!(config.config, Config::default());
    }
}
