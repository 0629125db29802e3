//! Files of variables: `.env`, `--env-file`, `env_file`, `label_file`.

use super::interpolate::{Fault, QUIET, expand};
use crate::error::{Error, Position};
use std::path::Path;
use std::sync::Arc;

/// A variable of a file; without a value it is whatever the process has.
pub type Variable = (String, Option<String>);

/// Reads a file of variables. `lookup` is asked for variables that its values use, before those that the file itself has set.
pub fn read(path: &Path, raw: bool, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Variable>, Error> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&text);
    parse(&text, &path.display().to_string().into(), raw, lookup)
}

/// Reads the text of such a file. `raw` takes values as they stand.
pub fn parse(
    text: &str,
    file: &Arc<str>,
    raw: bool,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Variable>, Error> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1, file };
    let mut found: Vec<Variable> = Vec::new();
    while reader.skip_blank() {
        if raw && reader.rest.starts_with("export ") {
            return Err(reader.wrong("a name has no blanks, and in format raw `export` is a part of it"));
        }
        let (name, has_value) = reader.name()?;
        if !has_value {
            found.push((name, None));
            continue;
        }
        let value = if raw { reader.take_line().to_owned() } else { reader.value(&found, lookup)? };
        found.push((name, Some(value)));
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    file: &'a Arc<str>,
}

impl<'a> Reader<'a> {
    fn wrong(&self, message: impl Into<String>) -> Error {
        let at = Position { file: self.file.clone(), line: self.line, column: 1 };
        Error::at(&at, message)
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take_line(&mut self) -> &'a str {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.take(end);
        self.take(usize::from(!self.rest.is_empty()));
        line
    }

    /// Passes over blank lines and comments; whether something follows.
    fn skip_blank(&mut self) -> bool {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.take_line();
        }
    }

    /// The name at the beginning of a line, and whether `=` or `:` follows.
    fn name(&mut self) -> Result<(String, bool), Error> {
        if self.rest.starts_with("export ") || self.rest.starts_with("export\t") {
            self.take(7);
            let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
            self.take(blank);
        }
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let separator = self.rest[end..].chars().next().filter(|c| *c != '\n');
        let name = self.rest[..end].trim().to_owned();
        if let Some(wrong) = name.chars().find(|c| !c.is_alphanumeric() && !"_.-[]".contains(*c)) {
            return Err(self.wrong(format!("unexpected character {wrong:?} in variable name {name:?}")));
        }
        if name.is_empty() {
            return Err(self.wrong("a variable has no name"));
        }
        self.take(end + separator.map_or(0, char::len_utf8));
        if separator.is_none() {
            self.take(usize::from(!self.rest.is_empty()));
        }
        Ok((name, separator.is_some()))
    }

    fn value(
        &mut self,
        found: &[Variable],
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, Error> {
        let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.take(blank);
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                self.take(1);
                let end = self.closing(quote)?;
                let inner = self.take(end).to_owned();
                self.take(1);
                self.take_line();
                if quote == '\'' {
                    Ok(inner.replace("\\'", "'"))
                } else {
                    self.fill(&unescape(&inner), found, lookup)
                }
            }
            _ => {
                let line = self.take_line();
                let end = comment(line).unwrap_or(line.len());
                self.fill(line[..end].trim_end(), found, lookup)
            }
        }
    }

    fn closing(&self, quote: char) -> Result<usize, Error> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return Ok(at),
                _ => {}
            }
        }
        Err(self.wrong(format!("unterminated quoted value {quote}")))
    }

    fn fill(
        &self,
        text: &str,
        found: &[Variable],
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, Error> {
        let before = |name: &str| {
            found.iter().rev().find(|(known, _)| known == name).and_then(|(_, value)| value.clone())
        };
        let filled = expand(text, &mut |name| {
            let name = name.trim_start_matches(QUIET);
            lookup(name).or_else(|| before(name))
        });
        filled.map_err(|fault| match fault {
            Fault::Format => self.wrong(format!("invalid template: {text:?}; write $$ for a plain $")),
            Fault::Required(name, why) => {
                self.wrong(format!("required variable {name} is missing a value: {why}"))
            }
        })
    }
}

/// Where a comment begins: at a `#` after a blank.
fn comment(line: &str) -> Option<usize> {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return Some(at);
        }
        before = c;
    }
    None
}

/// Escapes of a double-quoted value; `\$` is a plain dollar.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let text = "# c\nA=1\nexport B = two # c\nC='$A #x'\nD=\"$A\\n${U:-u}\"\nE\nF: y\nG=a#b\nH=\nI=\"two\nlines\"\nJ=$OS/$B\n";
        let lookup = |name: &str| (name == "OS").then(|| "os".to_owned());
        let found = parse(text, &".env".into(), false, &lookup).unwrap();
        let shown: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(
            shown.join(" "),
            "A=Some(\"1\") B=Some(\"two\") C=Some(\"$A #x\") D=Some(\"1\\nu\") E=None F=Some(\"y\") G=Some(\"a#b\") \
             H=Some(\"\") I=Some(\"two\\nlines\") J=Some(\"os/two\")"
        );
        assert!(parse("export A=1\n", &"f".into(), true, &|_| None).is_err());
        let raw = parse("A='$x' # c\n", &"f".into(), true, &|_| None).unwrap();
        assert_eq!(raw[0].1.as_deref(), Some("'$x' # c"));
        let fails = |text: &str| parse(text, &"f".into(), false, &|_| None).unwrap_err().to_string();
        assert!(fails("\nA='x\n").starts_with("f:2:1: unterminated"));
        assert!(fails("A B=1\n").contains("unexpected character"));
    }
}
