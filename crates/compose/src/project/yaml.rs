//! YAML as `config` prints it: attributes in their order, the user's keys sorted, two blanks a level.

use super::tree::Tree;
use std::cmp::Ordering;

/// Structs that Docker's YAML leaves out where they are empty, though its JSON has them.
const LEFT_OUT_EMPTY: [&str; 4] = ["resources", "placement", "ipam", "exec"];

/// The text of a value.
pub fn text(tree: &Tree) -> String {
    let mut out = String::new();
    match tree {
        Tree::Map(entries) | Tree::Struct(entries) if !entries.is_empty() => mapping(&mut out, tree, 0),
        Tree::List(items) if !items.is_empty() => list(&mut out, items, 0),
        other => {
            out.push_str(&scalar(other, 0));
            out.push('\n');
        }
    }
    out
}

/// The entries that are shown, extensions among them.
fn shown(tree: &Tree) -> Vec<(&str, &Tree)> {
    let mut entries: Vec<(&str, &Tree)> = match tree {
        Tree::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
            entries.sort_by(|a, b| natural(a.0, b.0));
            entries
        }
        Tree::Struct(entries) => entries
            .iter()
            .filter(|(key, value)| {
                key != "#x"
                    && *value != Tree::Null
                    && !(is_empty(value) && LEFT_OUT_EMPTY.contains(&key.as_str()))
            })
            .map(|(key, value)| (key.as_str(), value))
            .collect(),
        _ => Vec::new(),
    };
    if let Some(Tree::Map(extensions)) = tree.get("#x") {
        entries.extend(extensions.iter().map(|(key, value)| (key.as_str(), value)));
    }
    entries
}

fn is_empty(tree: &Tree) -> bool {
    match tree {
        Tree::Struct(entries) => entries.iter().all(|(_, value)| *value == Tree::Null || is_empty(value)),
        _ => false,
    }
}

fn mapping(out: &mut String, tree: &Tree, depth: usize) {
    for (key, value) in shown(tree) {
        out.push_str(&"  ".repeat(depth));
        entry(out, key, value, depth);
    }
}

fn entry(out: &mut String, key: &str, value: &Tree, depth: usize) {
    // Go's JSON has some of Docker's names with capitals, its YAML has not.
    let key = if matches!(key, "Path" | "Weight" | "Rate") { key.to_lowercase() } else { key.to_owned() };
    let whole = (key == "ulimits").then(|| with_both_limits(value));
    let value = whole.as_ref().unwrap_or(value);
    out.push_str(&scalar(&Tree::Text(key), depth));
    out.push(':');
    match value {
        Tree::Map(_) | Tree::Struct(_) if !shown(value).is_empty() => {
            out.push('\n');
            mapping(out, value, depth + 1);
        }
        Tree::List(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, depth + 1);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other, depth + 1));
            out.push('\n');
        }
    }
}

/// Docker's YAML has both limits even where one is 0, which its JSON leaves out.
fn with_both_limits(limits: &Tree) -> Tree {
    let Tree::Map(entries) = limits else { return limits.clone() };
    let both = |limit: &Tree| match limit {
        Tree::Struct(_) => Tree::Struct(
            ["soft", "hard"]
                .map(|side| (side.to_owned(), limit.get(side).cloned().unwrap_or(Tree::Int(0))))
                .into(),
        ),
        single => single.clone(),
    };
    Tree::Map(entries.iter().map(|(name, limit)| (name.clone(), both(limit))).collect())
}

fn list(out: &mut String, items: &[Tree], depth: usize) {
    for item in items {
        out.push_str(&"  ".repeat(depth));
        out.push_str("- ");
        match item {
            Tree::Map(_) | Tree::Struct(_) if !shown(item).is_empty() => {
                for (index, (key, value)) in shown(item).into_iter().enumerate() {
                    if index > 0 {
                        out.push_str(&"  ".repeat(depth + 1));
                    }
                    entry(out, key, value, depth + 1);
                }
            }
            Tree::List(inner) if !inner.is_empty() => {
                out.push('\n');
                list(out, inner, depth + 1);
            }
            other => {
                out.push_str(&scalar(other, depth + 1));
                out.push('\n');
            }
        }
    }
}

fn scalar(tree: &Tree, depth: usize) -> String {
    match tree {
        Tree::Null => "null".into(),
        Tree::Bool(on) => on.to_string(),
        Tree::Int(number) => number.to_string(),
        Tree::Float(number) => number.to_string(),
        Tree::Single(number) => number.to_string(),
        Tree::Text(text) => quoted(text, depth),
        Tree::List(_) => "[]".into(),
        Tree::Map(_) | Tree::Struct(_) => "{}".into(),
    }
}

/// `1:30` and the like, numbers of YAML 1.1.
fn is_base_60(text: &str) -> bool {
    let mut parts = text.trim_start_matches(['-', '+']).split(':');
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let first = parts.next().is_some_and(digits);
    let mut more = parts.peekable();
    first
        && more.peek().is_some()
        && more.all(|part| digits(part) && part.len() <= 2 && part.parse::<u8>().is_ok_and(|n| n < 60))
}

fn is_date(text: &str) -> bool {
    let date = text.get(..10).unwrap_or_default();
    let shape = date
        .bytes()
        .enumerate()
        .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    date.len() == 10 && shape
}

/// Characters that mean something at the beginning of a plain scalar.
const INDICATORS: &str = "-?:,[]{}#&*!|>'\"%@`";

fn quoted(text: &str, depth: usize) -> String {
    let printable = text.chars().all(|c| c == '\n' || !c.is_control());
    if text.contains('\n')
        && printable
        && !text.starts_with([' ', '\n'])
        && !text.lines().any(|line| line.ends_with(' '))
    {
        return literal(text, depth);
    }
    let looks_typed = matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "~"
            | "null"
            | "true"
            | "false"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "y"
            | "n"
            | "<<"
            | ".nan"
            | ".inf"
            | "-.inf"
            | "+.inf"
    ) || text.parse::<f64>().is_ok()
        || crate::files::yaml::integer(text).is_some()
        || is_base_60(text)
        || is_date(text);
    if looks_typed || !printable || text.contains('\n') {
        return double(text);
    }
    let begins = text.starts_with(|c: char| INDICATORS.contains(c))
        && !(text.starts_with(['-', '?', ':']) && text[1..].starts_with(|c: char| !c.is_whitespace()));
    let odd =
        begins || text.contains(": ") || text.contains(" #") || text.ends_with(':') || text.trim() != text;
    if odd { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

fn literal(text: &str, depth: usize) -> String {
    let ends = text.len() - text.trim_end_matches('\n').len();
    let chomp = ["-", "", "+"][ends.min(2)];
    let indent = "  ".repeat(depth);
    let body = if ends > 0 { &text[..text.len() - 1] } else { text };
    let lines: Vec<String> = body
        .split('\n')
        .map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") })
        .collect();
    format!("|{chomp}\n{}", lines.join("\n"))
}

/// Names with numbers in the order of the numbers, as Go's YAML sorts keys.
fn natural(a: &str, b: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut in_digits = false;
    for at in 0..left.len().min(right.len()) {
        let (x, y) = (left[at], right[at]);
        if x == y {
            in_digits = x.is_ascii_digit();
            continue;
        }
        match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => return x.cmp(&y),
            (letter, other) if letter || other => {
                let first = if in_digits { letter } else { other };
                return if first { Ordering::Less } else { Ordering::Greater };
            }
            _ => {}
        }
        let number = |chars: &[char]| {
            let digits: String = chars[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
            (digits.parse::<u64>().unwrap_or(0), digits.len())
        };
        return number(&left).cmp(&number(&right)).then(x.cmp(&y));
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_and_keys() {
        let cases = [
            ("a b", "a b"),
            ("8080", "\"8080\""),
            ("true", "\"true\""),
            ("a: b", "'a: b'"),
            ("-x", "-x"),
            ("- x", "'- x'"),
            ("", "\"\""),
            ("*", "'*'"),
            ("it's", "it's"),
            ("1.2.3", "1.2.3"),
            ("10:20", "\"10:20\""),
            ("1000:1000", "1000:1000"),
            ("/a:/b", "/a:/b"),
            ("a\tb", "\"a\\tb\""),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text, 0), expected, "{text}");
        }
        let mut keys = ["a10", "a2", "b", "A", "a_b", "a1b"];
        keys.sort_by(|a, b| natural(a, b));
        assert_eq!(keys, ["A", "a_b", "a1b", "a2", "a10", "b"]);
    }
}
