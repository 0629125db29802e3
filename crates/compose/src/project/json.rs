//! JSON as Go writes it: `<`, `>` and `&` escaped, numbers in the shortest form.

use super::tree::Tree;
use std::fmt::Write;

/// On one line.
pub fn compact(tree: &Tree) -> String {
    let mut out = String::new();
    write(&mut out, tree, None, 0);
    out
}

/// With each value on a line of its own.
pub fn pretty(tree: &Tree) -> String {
    let mut out = String::new();
    write(&mut out, tree, Some(2), 0);
    out
}

fn write(out: &mut String, tree: &Tree, indent: Option<usize>, depth: usize) {
    // Writing to a string does not fail.
    let _ = match tree {
        Tree::Null => write!(out, "null"),
        Tree::Bool(on) => write!(out, "{on}"),
        Tree::Int(number) => write!(out, "{number}"),
        Tree::Float(number) => write!(out, "{number}"),
        Tree::Single(number) => write!(out, "{number}"),
        Tree::Text(text) => {
            string(out, text);
            Ok(())
        }
        Tree::List(items) => {
            block(out, "[]", items.len(), indent, depth, |out, index| {
                write(out, &items[index], indent, depth + 1);
            });
            Ok(())
        }
        Tree::Map(entries) | Tree::Struct(entries) => {
            // Extensions are for people.
            let shown: Vec<&(String, Tree)> = entries.iter().filter(|(key, _)| key != "#x").collect();
            block(out, "{}", shown.len(), indent, depth, |out, index| {
                string(out, &shown[index].0);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(out, &shown[index].1, indent, depth + 1);
            });
            Ok(())
        }
    };
}

fn block(
    out: &mut String,
    brackets: &str,
    len: usize,
    indent: Option<usize>,
    depth: usize,
    mut item: impl FnMut(&mut String, usize),
) {
    out.push_str(&brackets[..1]);
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * depth));
        }
    };
    for index in 0..len {
        if index > 0 {
            out.push(',');
        }
        line(out, depth + 1);
        item(out, index);
    }
    if len > 0 {
        line(out, depth);
    }
    out.push_str(&brackets[1..]);
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
