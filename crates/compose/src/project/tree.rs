//! Values to be written, in the order they were given: what `config` prints and hashes are made of.

use crate::files::node::{Node, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, Serialize, Serializer};
use std::fmt;

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Tree {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number of double precision.
    Float(f64),
    /// A number of single precision, which is written shorter.
    Single(f32),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping with the user's keys.
    Map(Vec<(String, Tree)>),
    /// A struct with attributes.
    Struct(Vec<(String, Tree)>),
}

impl Tree {
    /// The tree of a file's value.
    pub fn from_node(node: &Node) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Bool(on) => Self::Bool(*on),
            Value::Int(number) => Self::Int(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Text(text) => Self::Text(text.clone()),
            Value::List(items) => Self::List(items.iter().map(Self::from_node).collect()),
            Value::Map(entries) => Self::Map(
                entries.iter().map(|entry| (entry.key.clone(), Self::from_node(&entry.node))).collect(),
            ),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Self::Map(entries) | Self::Struct(entries) => {
                entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// The tree of a value. Maps have text keys; there is nothing else that could fail.
pub fn of(value: &impl Serialize) -> Tree {
    value.serialize(Planter).unwrap_or_default()
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(on) => serializer.serialize_bool(*on),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Single(number) => serializer.serialize_f32(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) | Self::Struct(entries) => {
                serializer.collect_map(entries.iter().map(|(k, v)| (k, v)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, on: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(on))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
                Ok(Tree::Int(number))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
                Ok(Tree::Float(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries: Vec<(String, Tree)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(Tree::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Why a value has no tree: a key is no text.
#[derive(Debug)]
struct Odd(String);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Odd {}

impl ser::Error for Odd {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Planter;

/// A list, mapping or struct that grows.
struct Growing {
    items: Vec<Tree>,
    entries: Vec<(String, Tree)>,
    key: Option<String>,
}

impl Growing {
    fn new() -> Self {
        Self { items: Vec::new(), entries: Vec::new(), key: None }
    }
}

impl Serializer for Planter {
    type Ok = Tree;
    type Error = Odd;
    type SerializeSeq = Growing;
    type SerializeTuple = ser::Impossible<Tree, Odd>;
    type SerializeTupleStruct = ser::Impossible<Tree, Odd>;
    type SerializeTupleVariant = ser::Impossible<Tree, Odd>;
    type SerializeMap = Growing;
    type SerializeStruct = Growing;
    type SerializeStructVariant = ser::Impossible<Tree, Odd>;

    fn serialize_bool(self, on: bool) -> Result<Tree, Odd> {
        Ok(Tree::Bool(on))
    }
    fn serialize_i8(self, number: i8) -> Result<Tree, Odd> {
        Ok(Tree::Int(number.into()))
    }
    fn serialize_i16(self, number: i16) -> Result<Tree, Odd> {
        Ok(Tree::Int(number.into()))
    }
    fn serialize_i32(self, number: i32) -> Result<Tree, Odd> {
        Ok(Tree::Int(number.into()))
    }
    fn serialize_i64(self, number: i64) -> Result<Tree, Odd> {
        Ok(Tree::Int(number))
    }
    fn serialize_u8(self, number: u8) -> Result<Tree, Odd> {
        Ok(Tree::Int(number.into()))
    }
    fn serialize_u16(self, number: u16) -> Result<Tree, Odd> {
        Ok(Tree::Int(number.into()))
    }
    fn serialize_u32(self, number: u32) -> Result<Tree, Odd> {
        Ok(Tree::Int(number.into()))
    }
    fn serialize_u64(self, number: u64) -> Result<Tree, Odd> {
        Ok(Tree::Int(i64::try_from(number).unwrap_or(i64::MAX)))
    }
    fn serialize_f32(self, number: f32) -> Result<Tree, Odd> {
        Ok(Tree::Single(number))
    }
    fn serialize_f64(self, number: f64) -> Result<Tree, Odd> {
        Ok(Tree::Float(number))
    }
    fn serialize_char(self, c: char) -> Result<Tree, Odd> {
        Ok(Tree::Text(c.to_string()))
    }
    fn serialize_str(self, text: &str) -> Result<Tree, Odd> {
        Ok(Tree::Text(text.to_owned()))
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<Tree, Odd> {
        Err(Odd("bytes".into()))
    }
    fn serialize_none(self) -> Result<Tree, Odd> {
        Ok(Tree::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, Odd> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Tree, Odd> {
        Ok(Tree::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Tree, Odd> {
        Ok(Tree::Null)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Tree, Odd> {
        Ok(Tree::Text(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, Odd> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, Odd> {
        value.serialize(self)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Growing, Odd> {
        Ok(Growing::new())
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Odd> {
        Err(Odd("a tuple".into()))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Odd> {
        Err(Odd("a tuple".into()))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Odd> {
        Err(Odd("a tuple".into()))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Growing, Odd> {
        Ok(Growing::new())
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Growing, Odd> {
        Ok(Growing::new())
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Odd> {
        Err(Odd("a variant".into()))
    }
}

impl ser::SerializeSeq for Growing {
    type Ok = Tree;
    type Error = Odd;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Odd> {
        self.items.push(value.serialize(Planter)?);
        Ok(())
    }
    fn end(self) -> Result<Tree, Odd> {
        Ok(Tree::List(self.items))
    }
}

impl ser::SerializeMap for Growing {
    type Ok = Tree;
    type Error = Odd;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Odd> {
        match key.serialize(Planter)? {
            Tree::Text(key) => self.key = Some(key),
            other => return Err(Odd(format!("a key that is {other:?}"))),
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Odd> {
        let key = self.key.take().unwrap_or_default();
        self.entries.push((key, value.serialize(Planter)?));
        Ok(())
    }
    fn end(self) -> Result<Tree, Odd> {
        Ok(Tree::Map(self.entries))
    }
}

impl ser::SerializeStruct for Growing {
    type Ok = Tree;
    type Error = Odd;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Odd> {
        self.entries.push((key.to_owned(), value.serialize(Planter)?));
        Ok(())
    }
    fn end(self) -> Result<Tree, Odd> {
        Ok(Tree::Struct(self.entries))
    }
}
