//! The JSON of the Docker Engine API 1.51.
//!
//! Read: unknown fields are ignored, missing and `null` fields take their default, as in Docker.
//! Written: fields that Docker leaves out when they are empty are left out; lists and maps that Docker
//! writes as `null` are an `Option`.
#![allow(missing_docs)] // The fields are Docker's own; https://docs.docker.com/reference/api/engine documents them.

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Declares structs with names of the given case, whose fields all have a default and take `null` for it. The fields of the structs named
/// after `with` stand among the struct's own in JSON.
macro_rules! wire {
    ($case:literal: $(
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[$field_attribute:meta])* pub $field:ident: $kind:ty,)*
        }
        $(with { $(pub $part:ident: $part_kind:ty,)* })?
    )*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = $case)]
        $(#[$attribute])*
        pub struct $name {
            $(
                #[serde(default, deserialize_with = "crate::types::nullable")]
                $(#[$field_attribute])*
                pub $field: $kind,
            )*
            $($(
                #[serde(flatten)]
                pub $part: $part_kind,
            )*)?
        }
    )*};
}

pub mod build;
pub mod container;
pub mod exec;
pub mod host_config;
pub mod image;
pub mod network;
pub mod stats;
pub mod system;
pub mod volume;

/// A map with its keys in order, as Go writes maps.
pub type Map<V> = BTreeMap<String, V>;

/// A map of texts in a request; `null` is an empty one, as for Go.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Texts(pub Map<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: Map<Option<String>> = Deserialize::deserialize(deserializer)?;
        Ok(read.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
    }
}

impl FromIterator<(String, String)> for Texts {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl From<Map<String>> for Texts {
    fn from(map: Map<String>) -> Self {
        Self(map)
    }
}

/// An empty JSON object: the value of Go's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Empty {}

/// A list that may be written as a single string, as `Cmd` and `Entrypoint` may.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct StrSlice(pub Vec<String>);

impl<'de> Deserialize<'de> for StrSlice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = StrSlice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<StrSlice, E> {
                Ok(StrSlice(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StrSlice, A::Error> {
                let mut list = Vec::new();
                while let Some(text) = seq.next_element()? {
                    list.push(text);
                }
                Ok(StrSlice(list))
            }
            fn visit_unit<E>(self) -> Result<StrSlice, E> {
                Ok(StrSlice::default())
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Body of every error.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErrorResponse {
    #[serde(default)]
    pub message: String,
}

/// Answer of the calls that create something.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IdResponse {
    #[serde(rename = "Id", alias = "ID", default)]
    pub id: String,
}

/// Takes the default for `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// For `skip_serializing_if`: the value is the type's default (Go's `omitempty`).
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::container::{Config, CreateRequest};
    use super::*;

    #[test]
    fn null_missing_and_unknown() {
        let body = r#"{"Image":"busybox","Cmd":null,"Env":null,"Entrypoint":"sh","Tty":null,"New":1,
            "Volumes":{"/data":{}},"HostConfig":{"Binds":null,"Memory":null,"PortBindings":
            {"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/tcp":null}},"NetworkingConfig":null}"#;
        let request: CreateRequest = serde_json::from_str(body).unwrap();
        assert_eq!(request.config.image, "busybox");
        assert_eq!(request.config.cmd, None);
        assert_eq!(request.config.entrypoint, Some(StrSlice(vec!["sh".into()])));
        let bindings = request.host_config.port_bindings.unwrap();
        assert_eq!(bindings["80/tcp"].as_ref().unwrap()[0].host_port, "8080");
        assert_eq!(bindings["81/tcp"], None);
    }

    #[test]
    fn empty_fields_as_docker_writes_them() {
        let json = serde_json::to_value(Config::default()).unwrap();
        for null in ["Env", "Cmd", "Volumes", "Entrypoint", "Labels"] {
            assert!(json[null].is_null(), "{null}");
        }
        for left_out in ["ExposedPorts", "Healthcheck", "StopSignal", "Shell"] {
            assert!(json.get(left_out).is_none(), "{left_out}");
        }
    }
}
