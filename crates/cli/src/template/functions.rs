//! Functions of templates: Go's own and Docker's.

use super::TemplateError;
use serde_json::Value;
use std::cmp::Ordering;

const NAMES: [&str; 28] = [
    "and",
    "eq",
    "ge",
    "gt",
    "html",
    "index",
    "join",
    "js",
    "json",
    "le",
    "len",
    "lower",
    "lt",
    "ne",
    "not",
    "or",
    "pad",
    "print",
    "printf",
    "println",
    "prettyjson",
    "slice",
    "split",
    "table",
    "title",
    "truncate",
    "upper",
    "urlquery",
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    match (name, arguments) {
        ("json", [value]) => Ok(value.to_string().into()),
        ("prettyjson", [value]) => Ok(format!("{value:#}").into()),
        ("join", [list, separator]) => {
            let words: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
            Ok(words.join(&text(separator)).into())
        }
        ("split", [value, separator]) => {
            Ok(text(value).split(text(separator).as_str()).map(str::to_owned).collect::<Vec<_>>().into())
        }
        ("lower", [value]) => Ok(text(value).to_lowercase().into()),
        ("upper", [value]) => Ok(text(value).to_uppercase().into()),
        ("title", [value]) => Ok(title(&text(value)).into()),
        ("truncate", [value, len]) => Ok(text(value).chars().take(size(len)?).collect::<String>().into()),
        ("pad", [value, before, after]) => {
            let value = text(value);
            if value.is_empty() {
                return Ok(value.into());
            }
            Ok(format!("{}{value}{}", " ".repeat(size(before)?), " ".repeat(size(after)?)).into())
        }
        ("len", [value]) => match value {
            Value::String(text) => Ok(text.len().into()),
            Value::Array(list) => Ok(list.len().into()),
            Value::Object(map) => Ok(map.len().into()),
            Value::Null => Ok(0.into()),
            other => Err(TemplateError(format!("len of type {}", text(other)))),
        },
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(print(values).into()),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(text).collect();
            Ok((words.join(" ") + "\n").into())
        }
        ("printf", [format, values @ ..]) => Ok(printf(&text(format), values).into()),
        ("html", values) => Ok(escape(&print(values)).into()),
        ("js", values) => Ok(Value::from(print(values)).to_string().trim_matches('"').into()),
        ("urlquery", values) => Ok(wharf_docker_api::client::segment(&print(values)).into()),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("and", [first, rest @ ..]) => Ok(std::iter::once(first)
            .chain(rest)
            .find(|v| !is_true(v))
            .or(rest.last())
            .unwrap_or(first)
            .clone()),
        ("or", [first, rest @ ..]) => Ok(std::iter::once(first)
            .chain(rest)
            .find(|v| is_true(v))
            .or(rest.last())
            .unwrap_or(first)
            .clone()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            Ok(rest.iter().any(|value| equal(first, value)).into())
        }
        ("ne", [a, b]) => Ok((!equal(a, b)).into()),
        ("lt", [a, b]) => Ok((compare(a, b)? == Ordering::Less).into()),
        ("le", [a, b]) => Ok((compare(a, b)? != Ordering::Greater).into()),
        ("gt", [a, b]) => Ok((compare(a, b)? == Ordering::Greater).into()),
        ("ge", [a, b]) => Ok((compare(a, b)? != Ordering::Less).into()),
        _ => Err(TemplateError(format!("wrong number of args for {name}: got {}", arguments.len()))),
    }
}

/// Whether a value counts as true: neither false, zero, empty nor nothing.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Prints a value as Go does.
pub(super) fn show(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<no value>"),
        Value::Bool(on) => out.push_str(if *on { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Array(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                show(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                show(item, out);
            }
            out.push(']');
        }
    }
}

fn text(value: &Value) -> String {
    let mut out = String::new();
    show(value, &mut out);
    out
}

fn size(value: &Value) -> Result<usize, TemplateError> {
    value
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(|| TemplateError(format!("expected integer; found {}", text(value))))
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let upper = start;
            start = c.is_whitespace();
            if upper { c.to_uppercase().to_string() } else { c.to_string() }
        })
        .collect()
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, TemplateError> {
    let mut current = value;
    for key in keys {
        current = match current {
            Value::Array(list) => {
                let at = size(key)?;
                list.get(at)
                    .ok_or_else(|| TemplateError(format!("error calling index: index out of range: {at}")))?
            }
            Value::Object(map) => match map.get(&text(key)) {
                Some(value) => value,
                None => return Ok(Value::Null),
            },
            Value::Null => return Err(TemplateError("error calling index: index of untyped nil".into())),
            other => {
                return Err(TemplateError(format!("error calling index: can't index item {}", text(other))));
            }
        };
    }
    Ok(current.clone())
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, TemplateError> {
    let outside = || TemplateError("error calling slice: index out of range".into());
    let range = |len: usize| {
        let from = bounds.first().map_or(Ok(0), size)?;
        let to = bounds.get(1).map_or(Ok(len), size)?;
        if from <= to && to <= len { Ok(from..to) } else { Err(outside()) }
    };
    match value {
        Value::String(text) => {
            let part = text.get(range(text.len())?).ok_or_else(outside)?;
            Ok(part.into())
        }
        Value::Array(list) => Ok(list[range(list.len())?].to_vec().into()),
        other => Err(TemplateError(format!("error calling slice: can't slice item {}", text(other)))),
    }
}

/// Go's `Sprint`: a space between two values neither of which is a string.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 && !value.is_string() && !values[index - 1].is_string() {
            out.push(' ');
        }
        show(value, &mut out);
    }
    out
}

fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let flags: String =
            std::iter::from_fn(|| chars.next_if(|c| matches!(c, '-' | '0' | '+' | ' ' | '#'))).collect();
        let width: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
        let precision: Option<String> = chars
            .next_if_eq(&'.')
            .map(|_| std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect());
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let precision = precision.map(|digits| digits.parse::<usize>().unwrap_or(0));
        let shown = match verb {
            's' | 'v' | 'd' | 't' => {
                let shown = text(value);
                match precision {
                    Some(precision) if verb == 's' => shown.chars().take(precision).collect(),
                    _ => shown,
                }
            }
            'q' => Value::from(text(value)).to_string(),
            'x' => value.as_i64().map_or_else(|| text(value), |n| format!("{n:x}")),
            'f' => format!("{:.*}", precision.unwrap_or(6), value.as_f64().unwrap_or(0.0)),
            other => format!("%!{other}({})", text(value)),
        };
        let missing = width.parse::<usize>().unwrap_or(0).saturating_sub(shown.chars().count());
        match (flags.contains('-'), flags.contains('0') && verb != 's') {
            (true, _) => out.push_str(&format!("{shown}{}", " ".repeat(missing))),
            (false, true) => out.push_str(&format!("{}{shown}", "0".repeat(missing))),
            (false, false) => out.push_str(&format!("{}{shown}", " ".repeat(missing))),
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, TemplateError> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => {
                a.partial_cmp(&b).ok_or_else(|| TemplateError("invalid type for comparison".into()))
            }
            _ => Err(TemplateError("incompatible types for comparison".into())),
        },
    }
}
