//! YAML into nodes: YAML 1.2 with anchors, merge keys, and the tags `!reset` and `!override`.

use super::node::{Entry, Node, Tag, Value};
use crate::error::{Error, Position};
use granit_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;
use std::sync::Arc;

/// Nodes of one file, those of aliases counted each time: a few lines may otherwise stand for gigabytes.
const MAX_NODES: usize = 500_000;

/// Reads the documents of a file.
pub fn parse(text: &str, file: &Arc<str>) -> Result<Vec<Node>, Error> {
    let mut builder =
        Builder { file: file.clone(), open: Vec::new(), done: Vec::new(), anchors: HashMap::new(), count: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = builder.at(error.marker().line(), error.marker().col());
            Error::at(&at, format!("yaml: {}", error.info()))
        })?;
        let at = builder.at(span.start.line(), span.start.col());
        builder.event(event, at)?;
    }
    Ok(builder.done)
}

/// A sequence or mapping that has begun.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Position)>,
    /// Values of merge keys, which come behind what is said itself.
    merged: Vec<Node>,
}

struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    done: Vec<Node>,
    anchors: HashMap<usize, Node>,
    count: usize,
}

impl Builder {
    fn at(&self, line: usize, column: usize) -> Position {
        Position { file: self.file.clone(), line, column: column + 1 }
    }

    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_ref().and_then(|tag| tag.core_suffix()).map(str::to_owned);
                let merge = merge_tag(tag.as_ref().map(|tag| tag.original()).as_deref(), &at)?;
                let plain = style == ScalarStyle::Plain;
                let value = scalar(&text, plain, core.as_deref(), merge);
                let node = Node { value, at, tag: merge };
                // Keys are texts, whatever they look like.
                self.finish(node, anchor, Some((text.into_owned(), plain)))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(Value::List(Vec::new()), anchor, tag.as_ref().map(|tag| tag.original()), at)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(Value::Map(Vec::new()), anchor, tag.as_ref().map(|tag| tag.original()), at)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let node = merge_keys(open.node, open.merged)?;
                self.finish(node, open.anchor, None)
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Error::at(&at, "yaml: an anchor contains itself"));
                };
                self.count += size(&node);
                node.tag = Tag::None;
                let key = node.scalar().map(|text| (text, false));
                self.finish(node, 0, key)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, value: Value, anchor: usize, tag: Option<String>, at: Position) -> Result<(), Error> {
        let tag = merge_tag(tag.as_deref(), &at)?;
        self.open.push(Open { node: Node { value, at, tag }, anchor, key: None, merged: Vec::new() });
        Ok(())
    }

    /// Puts a whole value where it belongs. `text` is what a scalar is as a key, and whether it is plain.
    fn finish(&mut self, node: Node, anchor: usize, text: Option<(String, bool)>) -> Result<(), Error> {
        self.count += 1;
        if self.count > MAX_NODES {
            return Err(Error::at(
                &node.at,
                format!("the file has more than {MAX_NODES} values, aliases counted"),
            ));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.done.push(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some((key, at))) => {
                if key == "<<" {
                    if !open.merged.is_empty() {
                        let message = "yaml: mapping key \"<<\" is there twice: give it a list";
                        return Err(Error::at(&at, message));
                    }
                    open.merged.push(node);
                } else if let Some(before) = entries.iter().find(|entry| entry.key == key) {
                    let message =
                        format!("yaml: mapping key \"{key}\" already defined at line {}", before.at.line);
                    return Err(Error::at(&at, message));
                } else {
                    entries.push(Entry { key, at, node });
                }
            }
            (_, _) => match text {
                Some((text, _)) => open.key = Some((text, node.at)),
                None => return Err(node.wrong("yaml: a key must be a string")),
            },
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.node)).sum::<usize>(),
        _ => 0,
    }
}

/// What merge keys bring: what is not said itself, the first of several mappings first.
fn merge_keys(mut node: Node, merged: Vec<Node>) -> Result<Node, Error> {
    for source in merged {
        let sources = match source.value {
            Value::List(items) => items,
            _ => vec![source],
        };
        for source in sources {
            let Value::Map(from) = source.value else {
                return Err(source.wrong("yaml: map merge requires map or sequence of maps as the value"));
            };
            let Value::Map(entries) = &mut node.value else { continue };
            for entry in from {
                if !entries.iter().any(|known| known.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(node)
}

fn merge_tag(tag: Option<&str>, at: &Position) -> Result<Tag, Error> {
    match tag {
        None => Ok(Tag::None),
        Some("!reset") => Ok(Tag::Reset),
        Some("!override") => Ok(Tag::Override),
        Some(tag) if tag.starts_with("!!") || tag.contains("yaml.org") || tag == "!" => Ok(Tag::None),
        Some(tag) => Err(Error::at(at, format!("unknown tag {tag}: there are !reset and !override"))),
    }
}

/// The value of a scalar by the core schema; quoted ones are texts.
fn scalar(text: &str, plain: bool, core: Option<&str>, tag: Tag) -> Value {
    match core {
        Some("str") => return Value::Text(text.to_owned()),
        Some(_) => {}
        None if !plain => return Value::Text(text.to_owned()),
        // A tag of ours says nothing about the type.
        None => debug_assert!(matches!(tag, Tag::None | Tag::Reset | Tag::Override)),
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(number) = integer(text) {
        return Value::Int(number);
    }
    match float(text) {
        Some(number) => Value::Float(number),
        None => Value::Text(text.to_owned()),
    }
}

/// The whole number that a plain scalar is, if it is one.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        // As YAML 1.1 had it, and as modes of files are written.
        [b'0', rest @ ..] if !rest.is_empty() => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok().map(|number| sign * number)
}

fn float(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['-', '+']);
    let begins = digits.starts_with(|c: char| c.is_ascii_digit()) || digits.starts_with('.');
    let looks = begins
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c));
    match digits.to_ascii_lowercase().as_str() {
        ".inf" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        ".nan" => Some(f64::NAN),
        _ if looks => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse(text, &"f".into()).unwrap().remove(0)
    }

    #[test]
    fn scalars() {
        let node =
            read("[1, 0x10, 0o17, 0777, 1.5, 1e3, yes, true, ~, '1', 1.2.3, 0.0.0.0, 10:20, -x, 08, \"\"]");
        let kinds: Vec<String> = node.items().iter().map(|n| format!("{:?}", n.value)).collect();
        assert_eq!(
            kinds.join(" "),
            "Int(1) Int(16) Int(15) Int(511) Float(1.5) Float(1000.0) Text(\"yes\") Bool(true) Null Text(\"1\") \
             Text(\"1.2.3\") Text(\"0.0.0.0\") Text(\"10:20\") Text(\"-x\") Float(8.0) Text(\"\")"
        );
    }

    #[test]
    fn merge_keys_and_places() {
        let node = read("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\nc:\n  <<: [{y: 5}, *a]\n");
        let text = |path: &str| {
            let (map, key) = path.split_once('.').unwrap();
            node.get(map).unwrap().get(key).unwrap().scalar().unwrap()
        };
        assert_eq!([text("b.x"), text("b.y"), text("c.x"), text("c.y")], ["1", "3", "1", "5"]);
        assert_eq!(node.get("b").unwrap().get("y").unwrap().at.to_string(), "f:6:6");
    }

    #[test]
    fn tags_and_errors() {
        let node = read("a: !reset null\nb: !override [1]\n");
        assert_eq!((node.get("a").unwrap().tag, node.get("b").unwrap().tag), (Tag::Reset, Tag::Override));
        let fails = |text: &str| parse(text, &"f".into()).unwrap_err().to_string();
        assert!(
            fails("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n")
                .starts_with("f:2:13: yaml: mapping key \"<<\" is there twice")
        );
        assert!(
            fails("a: 1\na: 2\n").starts_with("f:2:1: yaml: mapping key \"a\" already defined at line 1")
        );
        assert!(fails("a: [1\n").starts_with("f:"));
        assert!(fails("a: !nope 1\n").contains("unknown tag !nope"));
        let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(fails(bomb).contains("more than 500000 values"));
    }
}
