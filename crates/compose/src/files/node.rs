//! Values of a file, each with its place.

use crate::error::{Error, Position};

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`, or nothing.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the file's order.
    Map(Vec<Entry>),
}

/// What a file says about merging with what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tag {
    /// Nothing: by the attribute's rules.
    #[default]
    None,
    /// `!reset`: as if nobody had said it.
    Reset,
    /// `!override`: this and nothing of before.
    Override,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub at: Position,
    /// `!reset` or `!override`.
    pub tag: Tag,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// A value at a place.
    pub fn new(value: Value, at: &Position) -> Self {
        Self { value, at: at.clone(), tag: Tag::None }
    }

    /// A text at a place.
    pub fn text(text: impl Into<String>, at: &Position) -> Self {
        Self::new(Value::Text(text.into()), at)
    }

    /// A mapping of a few keys, all at one place.
    pub fn map(entries: impl IntoIterator<Item = (&'static str, Value)>, at: &Position) -> Self {
        let entry = |(key, value): (&str, Value)| Entry {
            key: key.to_owned(),
            at: at.clone(),
            node: Self::new(value, at),
        };
        Self::new(Value::Map(entries.into_iter().map(entry).collect()), at)
    }

    /// The text, where it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The scalar as a text: numbers and switches in their usual spelling.
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(on) => Some(on.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(super::units::go_float(*number)),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The keys and values, where it is a mapping.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The keys and values, to be changed.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.value {
            Value::Map(entries) => entries,
            _ => &mut [],
        }
    }

    /// The items, where it is a sequence.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The items, to be changed.
    pub fn items_mut(&mut self) -> &mut [Node] {
        match &mut self.value {
            Value::List(items) => items,
            _ => &mut [],
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries_mut().iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    /// The value of a key, unless it is nothing.
    pub fn given(&self, key: &str) -> Option<&Node> {
        self.get(key).filter(|node| node.value != Value::Null)
    }

    /// Sets the value of a key; nothing becomes a mapping.
    pub fn set(&mut self, key: &str, node: Node) {
        if let Some(known) = self.get_mut(key) {
            *known = node;
            return;
        }
        if self.value == Value::Null {
            self.value = Value::Map(Vec::new());
        }
        if let Value::Map(entries) = &mut self.value {
            entries.push(Entry { key: key.to_owned(), at: node.at.clone(), node });
        }
    }

    /// Sets the value of a key where there is none.
    pub fn or_set(&mut self, key: &str, value: Value) {
        if self.get(key).is_none() {
            let at = self.at.clone();
            self.set(key, Node::new(value, &at));
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let Value::Map(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at).node)
    }

    /// What kind of value this is, in words.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// An error about this value.
    pub fn wrong(&self, message: impl Into<String>) -> Error {
        Error::at(&self.at, message)
    }

    /// Takes out what `!reset` names, which had nothing to reset, and the tags that had their effect.
    pub fn settle(&mut self) {
        self.tag = Tag::None;
        match &mut self.value {
            Value::Map(entries) => {
                entries.retain(|entry| entry.node.tag != Tag::Reset);
                entries.iter_mut().for_each(|entry| entry.node.settle());
            }
            Value::List(items) => {
                items.retain(|item| item.tag != Tag::Reset);
                items.iter_mut().for_each(Node::settle);
            }
            _ => {}
        }
    }
}
