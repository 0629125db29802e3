//! Variables in texts: `$NAME`, `${NAME}`, and `${NAME:-default}` with the operators `-`, `?` and `+`, each also with a colon.

use super::environment::Environment;
use super::node::{Node, Value};
use crate::error::Error;
use std::collections::BTreeMap;

/// Defaults within defaults; nobody writes more, and each costs stack.
const MAX_DEPTH: usize = 32;
/// Bytes of one text with its variables filled in.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Why a text has no value.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not written as a variable is.
    Format,
    /// `${NAME:?message}` without a value.
    Required(String, String),
}

/// Fills the variables of all texts below a value. `path` names it in errors.
pub fn interpolate(node: &mut Node, environment: &Environment, path: &str) -> Result<(), Error> {
    match &mut node.value {
        Value::Text(text) if text.contains('$') => {
            let filled = expand(text, &mut |name| environment.asked(name));
            match filled {
                Ok(filled) => *text = filled,
                Err(Fault::Required(name, message)) => {
                    let why = if message.is_empty() {
                        "required variable is missing a value".into()
                    } else {
                        message
                    };
                    return Err(Error::at(
                        &node.at,
                        format!(
                            "error while interpolating {path}: required variable {name} is missing a value: {why}"
                        ),
                    ));
                }
                Err(Fault::Format) => {
                    return Err(Error::at(
                        &node.at,
                        format!("invalid interpolation format for {path}: {text:?}; write $$ for a plain $"),
                    ));
                }
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                interpolate(item, environment, &format!("{path}.[{index}]"))?;
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                interpolate(&mut entry.node, environment, &path)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A text with its variables filled in. `lookup` is asked for each that is used; one without a value is empty.
pub fn expand(text: &str, lookup: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    expand_into(&mut out, &mut rest, lookup, 0)?;
    Ok(out)
}

/// A variable as a text names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variable {
    /// Nothing is done without a value.
    pub required: bool,
    /// What stands for it where it has none.
    pub default: String,
    /// What stands for it where it has one.
    pub alternate: String,
}

/// The variables that a text names, those in defaults of others too. What is not written as a variable is names none.
pub fn variables(text: &str, found: &mut BTreeMap<String, Variable>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{');
        rest = braced.unwrap_or(rest);
        let Some(name) = name(&mut rest) else { continue };
        let mut variable = Variable::default();
        if braced.is_some() {
            let (operator, after) = operator(rest);
            let word = &after[..word_len(after)];
            rest = &after[word.len()..];
            match operator.chars().last() {
                Some('-') => word.clone_into(&mut variable.default),
                Some('+') => word.clone_into(&mut variable.alternate),
                Some('?') => variable.required = true,
                _ => {}
            }
            if !operator.is_empty() {
                variables(word, found);
            }
        }
        // The first that says more than the name counts.
        let known = found.entry(name.to_owned()).or_default();
        if *known == Variable::default() {
            *known = variable;
        }
    }
}

/// Up to the brace that closes the one before.
fn word_len(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => depth += 1,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Up to the end, or within braces up to the one that closes them.
fn expand_into(
    out: &mut String,
    rest: &mut &str,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
    depth: usize,
) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Format);
    }
    while let Some(first) = rest.chars().next() {
        if out.len() > MAX_BYTES {
            return Err(Fault::Format);
        }
        match first {
            '}' if depth > 0 => return Ok(()),
            '$' => {
                *rest = &rest[1..];
                variable(out, rest, lookup, depth)?;
            }
            _ => {
                out.push(first);
                *rest = &rest[first.len_utf8()..];
            }
        }
    }
    if depth > 0 { Err(Fault::Format) } else { Ok(()) }
}

fn variable(
    out: &mut String,
    rest: &mut &str,
    lookup: &mut dyn FnMut(&str) -> Option<String>,
    depth: usize,
) -> Result<(), Fault> {
    if let Some(after) = rest.strip_prefix('$') {
        out.push('$');
        *rest = after;
        return Ok(());
    }
    let braced = rest.starts_with('{');
    if braced {
        *rest = &rest[1..];
    }
    let name = name(rest).ok_or(Fault::Format)?;
    if !braced {
        out.push_str(&lookup(name).unwrap_or_default());
        return Ok(());
    }
    let (operator, after) = operator(rest);
    *rest = after;
    if operator.is_empty() {
        *rest = rest.strip_prefix('}').ok_or(Fault::Format)?;
        out.push_str(&lookup(name).unwrap_or_default());
        return Ok(());
    }
    // What a word says counts only where it is used, so its own variables are asked for only then.
    let value = quiet(lookup, name);
    let given = value.as_ref().is_some_and(|value| !operator.starts_with(':') || !value.is_empty());
    let needs_word = given == operator.ends_with('+');
    let mut word = String::new();
    if needs_word {
        expand_into(&mut word, rest, lookup, depth + 1)?;
    } else {
        expand_into(&mut word, rest, &mut |_| None, depth + 1).or_else(|fault| match fault {
            Fault::Required(..) => Ok(()),
            Fault::Format => Err(Fault::Format),
        })?;
    }
    *rest = rest.strip_prefix('}').ok_or(Fault::Format)?;
    match operator.chars().last() {
        Some('?') if !given => return Err(Fault::Required(name.to_owned(), word)),
        Some('?') => out.push_str(&value.unwrap_or_default()),
        Some('-') if given => out.push_str(&value.unwrap_or_default()),
        // `-` without a value, `+` with one; `+` without is nothing.
        _ if needs_word => out.push_str(&word),
        _ => {}
    }
    Ok(())
}

/// A look-up that is not to be complained of: there is a word for the case that nothing is there.
fn quiet(lookup: &mut dyn FnMut(&str) -> Option<String>, name: &str) -> Option<String> {
    lookup(&format!("{QUIET}{name}"))
}

/// Before a name that may well be unset.
pub const QUIET: char = '\u{1}';

/// The name at the beginning, which is taken off.
fn name<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let first = name.chars().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    *rest = after;
    Some(name)
}

fn operator(rest: &str) -> (&str, &str) {
    let len = match rest.as_bytes() {
        [b':', b'-' | b'?' | b'+', ..] => 2,
        [b'-' | b'?' | b'+', ..] => 1,
        _ => 0,
    };
    rest.split_at(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, Fault> {
        expand(text, &mut |name| match name.trim_start_matches(QUIET) {
            "A" => Some("a".into()),
            "E" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn operators() {
        for (text, expected) in [
            ("$A ${A} $$A $U.", "a a $A ."),
            ("${U-x}${E-x}${E:-x}${A:-x}", "xxa"),
            ("${A+x}${U+x}${E+x}${E:+x}", "xx"),
            ("${A:?no}${E?no}", "a"),
            ("${U:-${A}-${U:-{y}}}", "a-{y}"),
            ("${U:-a$$b}", "a$b"),
            ("a}b", "a}b"),
            ("${A:-${U:?x}}", "a"),
        ] {
            match (check(text), text) {
                // A brace in a word ends it: what follows is text.
                (Ok(found), "${U:-${A}-${U:-{y}}}") => assert_eq!(found, "a-{y}"),
                (found, _) => assert_eq!(found.as_deref(), Ok(expected), "{text}"),
            }
        }
    }

    #[test]
    fn variables_are_named() {
        let mut found = BTreeMap::new();
        variables("$A ${B} $$C ${D:-d} ${E:?why} ${F+f} ${G:-${H:-h}x} ${1} $", &mut found);
        let shown = |(name, v): (&String, &Variable)| {
            format!("{name}{}[{}][{}]", if v.required { "!" } else { "" }, v.default, v.alternate)
        };
        let shown: Vec<String> = found.iter().map(shown).collect();
        assert_eq!(shown.join(" "), "A[][] B[][] D[d][] E![][] F[][f] G[${H:-h}x][] H[h][]");
    }

    #[test]
    fn faults() {
        assert_eq!(check("${U:?say it}"), Err(Fault::Required("U".into(), "say it".into())));
        assert_eq!(check("${E:?}"), Err(Fault::Required("E".into(), String::new())));
        for text in ["$", "$1", "${", "${A", "${1}", "${A:-x", "${A!}", "$-"] {
            assert_eq!(check(text), Err(Fault::Format), "{text}");
        }
        let deep = "${U:-".repeat(100) + &"}".repeat(100);
        assert_eq!(check(&deep), Err(Fault::Format));
    }
}
