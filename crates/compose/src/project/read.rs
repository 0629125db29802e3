//! From nodes to types: each wrong value is named with its attribute and its place, each unknown attribute with the nearest known one.

use crate::error::{Error, Position};
use crate::files::nearest::nearest;
use crate::files::node::{Entry, Node, Tag, Value};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// Attributes that may be `null`.
const NULLABLE: [&str; 9] =
    ["command", "entrypoint", "deploy", "develop", "pid", "networks", "volumes", "secrets", "configs"];

/// Reads a value of the given type. `path` names it in errors.
pub fn read<T: DeserializeOwned>(node: &Node, path: &str) -> Result<T, Error> {
    T::deserialize(Reading { node, path: path.to_owned() }).map_err(|fault| match fault.at {
        Some(at) => Error::at(&at, fault.message),
        None => node.wrong(format!("{path}: {}", fault.message)),
    })
}

/// What is wrong, and from some level on also where.
#[derive(Debug)]
struct Fault {
    at: Option<Position>,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { at: None, message: message.to_string() }
    }
}

struct Reading<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Reading<'a> {
    fn fault(&self, message: impl fmt::Display) -> Fault {
        Fault { at: Some(self.node.at.clone()), message: format!("{} {message}", self.path) }
    }

    fn must_be(&self, what: &str) -> Fault {
        self.fault(format!("must be {what}, not {}", self.node.kind()))
    }

    /// Gives what a visitor complains of its place.
    fn placed<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| match fault.at {
            Some(_) => fault,
            None => self.fault(fault.message),
        })
    }

    fn below(&self, name: impl fmt::Display) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    fn number<T: std::str::FromStr>(&self, what: &str) -> Result<T, Fault> {
        let text = match &self.node.value {
            Value::Float(number) if number.fract() == 0.0 => format!("{number:.0}"),
            Value::Text(_) | Value::Int(_) => self.node.scalar().unwrap_or_default(),
            _ => return Err(self.must_be(what)),
        };
        text.trim().parse().map_err(|_| self.fault(format!("must be {what}, not {text:?}")))
    }
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "y" | "yes" | "on" => Some(true),
        "false" | "f" | "0" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

impl<'de, 'a: 'de> Deserializer<'de> for Reading<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(on) => visitor.visit_bool(*on),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { reading: &self, items: items.iter(), index: 0 }),
            Value::Map(entries) => visitor.visit_map(Access::of(&self, entries.iter().collect())),
        };
        self.placed(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Bool(on) => visitor.visit_bool(*on),
            Value::Text(text) => match switch(text) {
                Some(on) => visitor.visit_bool(on),
                None => Err(self.fault(format!("must be a boolean, not {text:?}"))),
            },
            _ => Err(self.must_be("a boolean")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i64(self.number("an integer")?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(self.number("a positive integer")?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u32(self.number("a positive integer")?)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u16(self.number("a positive integer")?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = match self.node.value {
            Value::Int(_) | Value::Float(_) | Value::Text(_) => self.node.scalar().unwrap_or_default(),
            _ => return Err(self.must_be("a number")),
        };
        match text.parse() {
            Ok(number) => visitor.visit_f32(number),
            Err(_) => Err(self.fault(format!("must be a number, not {text:?}"))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) => self.placed(visitor.visit_str(text)),
            _ => Err(self.must_be("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items { reading: &self, items: items.iter(), index: 0 }),
            _ => Err(self.must_be("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(entries) => {
                self.placed(visitor.visit_map(Access::of(&self, entries.iter().collect())))
            }
            // A section or a set of names may be there and empty.
            Value::Null if NULLABLE.iter().any(|name| self.path.ends_with(name)) => {
                visitor.visit_map(Access::of(&self, Vec::new()))
            }
            _ => Err(self.must_be("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null if may_be_null(&self.path) => &[],
            _ => return Err(self.must_be("a mapping")),
        };
        let mut extensions = Vec::new();
        let mut known = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.node.tag != Tag::Reset) {
            if entry.key.starts_with("x-") {
                extensions.push(entry);
            } else if fields.contains(&entry.key.as_str()) && !entry.key.starts_with('#') {
                if entry.node.value == Value::Null {
                    if NULLABLE.contains(&entry.key.as_str()) {
                        continue;
                    }
                    let message = format!("{} must not be empty", self.below(&entry.key));
                    return Err(Fault { at: Some(entry.node.at.clone()), message });
                }
                known.push(entry);
            } else {
                return Err(self.unknown(entry, fields));
            }
        }
        let rest = (!extensions.is_empty() && fields.contains(&"#x")).then_some(extensions);
        let result = visitor.visit_map(Access { rest, ..Access::of(&self, known) });
        self.placed(result)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 u8 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// Whether a whole struct may be `null`: the resources of the top level, and services' places in networks are options anyway.
fn may_be_null(path: &str) -> bool {
    let mut parts = path.split('.');
    let first = parts.next().unwrap_or_default();
    let optional = ["networks", "volumes"].contains(&first) && parts.clone().count() == 1;
    optional || path.is_empty() || (first == "services" && path.contains(".depends_on."))
}

impl Reading<'_> {
    fn unknown(&self, entry: &Entry, fields: &'static [&'static str]) -> Fault {
        let near = nearest(&entry.key, fields.iter().copied().filter(|field| !field.starts_with('#')));
        let hint = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
        let whose = if self.path.is_empty() { "the file".into() } else { self.path.clone() };
        Fault {
            at: Some(entry.at.clone()),
            message: format!("{whose}: additional properties '{}' not allowed{hint}", entry.key),
        }
    }
}

struct Items<'r, 'a> {
    reading: &'r Reading<'a>,
    items: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'de, 'a: 'de> SeqAccess<'de> for Items<'_, 'a> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.by_ref().find(|item| item.tag != Tag::Reset) else { return Ok(None) };
        let path = self.reading.below(self.index);
        self.index += 1;
        seed.deserialize(Reading { node, path }).map(Some)
    }
}

/// Entries of a mapping, with the extensions behind them. One type for all mappings: each more would be the code of every struct again.
struct Access<'r, 'a> {
    reading: &'r Reading<'a>,
    entries: std::vec::IntoIter<&'a Entry>,
    entry: Option<&'a Entry>,
    rest: Option<Vec<&'a Entry>>,
}

impl<'r, 'a> Access<'r, 'a> {
    fn of(reading: &'r Reading<'a>, entries: Vec<&'a Entry>) -> Self {
        Self { reading, entries: entries.into_iter(), entry: None, rest: None }
    }
}

impl<'de, 'a: 'de> MapAccess<'de> for Access<'_, 'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.entry = self.entries.by_ref().find(|entry| entry.node.tag != Tag::Reset);
        match (self.entry, &self.rest) {
            (Some(entry), _) => seed.deserialize(entry.key.as_str().into_deserializer()).map(Some),
            (None, Some(_)) => seed.deserialize("#x".into_deserializer()).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match (self.entry, self.rest.take()) {
            (Some(entry), rest) => {
                self.rest = rest;
                let reading = Reading { node: &entry.node, path: self.reading.below(&entry.key) };
                seed.deserialize(reading)
            }
            (None, Some(rest)) => seed.deserialize(Extended { reading: self.reading, entries: rest }),
            (None, None) => Err(de::Error::custom("a value without a key")),
        }
    }
}

/// The extensions of a struct as one mapping.
struct Extended<'r, 'a> {
    reading: &'r Reading<'a>,
    entries: Vec<&'a Entry>,
}

impl<'de, 'a: 'de> Deserializer<'de> for Extended<'_, 'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Access::of(self.reading, self.entries))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
