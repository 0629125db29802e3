//! Values that are written in more than one way, and what counts as empty.

use super::tree::Tree;
use crate::files::units;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A mapping, with its keys in order.
pub type Map<T> = BTreeMap<String, T>;

/// What a file says of `x-…`.
pub type Extensions = BTreeMap<String, Tree>;

/// Whether a value is left out where it is written.
pub trait Blank {
    /// Whether it is.
    fn is_blank(&self) -> bool;
}

macro_rules! blank {
    ($($kind:ty: $blank:expr;)*) => {$(
        impl Blank for $kind {
            fn is_blank(&self) -> bool {
                let is: fn(&Self) -> bool = $blank;
                is(self)
            }
        }
    )*};
}

blank! {
    String: |text| text.is_empty();
    bool: |on| !on;
    i64: |number| *number == 0;
    u64: |number| *number == 0;
    u32: |number| *number == 0;
    u16: |number| *number == 0;
    f32: |number| *number == 0.0;
    Bytes: |bytes| bytes.0 == 0;
    Duration: |duration| duration.0 == 0;
    Shown: |_| false;
    Words: |_| false;
    OptOut: |on| !on.0;
    Hosts: |hosts| hosts.0.is_empty();
    Ssh: |keys| keys.0.is_empty();
}

impl<T> Blank for Vec<T> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Blank for Option<T> {
    fn is_blank(&self) -> bool {
        self.is_none()
    }
}

impl<T> Blank for BTreeMap<String, T> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

/// A size, as a number or as `50m`; written as a text of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes(pub i64);

/// A size that has to be a text.
pub(super) fn size_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::bytes(&text).map(Bytes).ok_or_else(|| de::Error::custom(format!("invalid size: {text:?}")))
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a string such as 512m")
    }
    fn visit_i64<E>(self, number: i64) -> Result<Bytes, E> {
        Ok(Bytes(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Bytes, E> {
        Ok(Bytes(number as i64))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        let number = || text.parse().ok();
        let found = units::bytes(text).or_else(number);
        found.map(Bytes).ok_or_else(|| E::custom(format!("invalid size: {text:?}")))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

/// A time in nanoseconds, written as Go does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Duration(pub i64);

impl Duration {
    /// The same as the standard library's; nothing is less than nothing.
    pub fn std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = units::nanoseconds(&text);
        found
            .map(Duration)
            .ok_or_else(|| de::Error::custom(format!("invalid duration {text:?}, as in 1m30s")))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::go_duration(self.0))
    }
}

/// A switch that is written whether on or off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Shown(pub bool);

/// A switch that is on unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct OptOut(pub bool);

impl Default for OptOut {
    fn default() -> Self {
        Self(true)
    }
}

/// A command: none is the image's own, an empty one is an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Words(pub Option<Vec<String>>);

/// Names of hosts with their addresses, written as `host=address`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Hosts(pub Map<Vec<String>>);

impl Hosts {
    /// One line for each address.
    pub fn lines(&self, separator: &str) -> Vec<String> {
        let lines = |(host, addresses): (&String, &Vec<String>)| {
            addresses.iter().map(|address| format!("{host}{separator}{address}")).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = self.0.iter().flat_map(lines).collect();
        all.sort();
        all
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.lines("=").serialize(serializer)
    }
}

/// Keys for a build's ssh mounts, written as `id=path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Ssh(pub Map<Option<String>>);

impl Serialize for Ssh {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let line = |(id, path): (&String, &Option<String>)| match path {
            Some(path) => format!("{id}={path}"),
            None => id.clone(),
        };
        self.0.iter().map(line).collect::<Vec<_>>().serialize(serializer)
    }
}

/// The mode of a file: a number, or a text in octal; written as a text in octal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileMode(pub i64);

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ModeVisitor;
        impl Visitor<'_> for ModeVisitor {
            type Value = FileMode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a string in octal")
            }
            fn visit_i64<E>(self, number: i64) -> Result<FileMode, E> {
                Ok(FileMode(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
                let found = i64::from_str_radix(text.trim_start_matches("0o"), 8);
                found.map(FileMode).map_err(|_| E::custom(format!("invalid file mode {text:?}")))
            }
        }
        deserializer.deserialize_any(ModeVisitor)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0{:o}", self.0))
    }
}
