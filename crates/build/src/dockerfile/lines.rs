//! Logical lines: directives, comments, continuations, heredocs.

use super::ParseError;

/// Bytes a Dockerfile may have: far more than anybody writes.
const MAX_SIZE: usize = 4 << 20;

/// A document inside an instruction: `<<EOF` … `EOF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Whether variables in it are expanded: not when the word was quoted.
    pub expand: bool,
    /// The text between, with tabs at the beginnings of lines taken off for `<<-`.
    pub content: String,
}

/// One instruction's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub(super) number: usize,
    /// All of it, continuations joined.
    pub(super) text: String,
    /// The documents that follow it.
    pub(super) heredocs: Vec<Heredoc>,
}

/// What the directives at the top say, and the lines below.
pub(super) struct Lines {
    pub(super) escape: char,
    pub(super) lines: Vec<Line>,
}

pub(super) fn split(text: &str) -> Result<Lines, ParseError> {
    if text.len() > MAX_SIZE {
        return Err(ParseError { line: 1, why: format!("the file has more than {MAX_SIZE} bytes") });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw: Vec<&str> = text.lines().collect();
    let escape = directives(&raw)?;
    let mut lines = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let first = raw[at].trim();
        if first.is_empty() || first.starts_with('#') {
            at += 1;
            continue;
        }
        let number = at + 1;
        let mut logical = String::new();
        let mut part = raw[at].trim_start();
        at += 1;
        loop {
            match continued(part, escape) {
                None => {
                    logical.push_str(part);
                    break;
                }
                Some(kept) => logical.push_str(kept),
            }
            // Comments and empty lines between do not end it.
            while raw.get(at).is_some_and(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
                at += 1;
            }
            let Some(next) = raw.get(at) else { break };
            part = next;
            at += 1;
        }
        let logical = logical.trim_end().to_owned();
        let mut heredocs = Vec::new();
        if takes_heredocs(&logical) {
            for (name, strip, expand) in openings(&logical) {
                let (content, next) = document(&raw, at, &name, strip).ok_or_else(|| ParseError {
                    line: number,
                    why: format!("unterminated heredoc: no line {name:?} follows"),
                })?;
                heredocs.push(Heredoc { name, expand, content });
                at = next;
            }
        }
        lines.push(Line { number, text: logical, heredocs });
    }
    Ok(Lines { escape, lines })
}

/// `# name=value` at the very top; the first other line ends them.
fn directives(raw: &[&str]) -> Result<char, ParseError> {
    let mut escape = None;
    for (at, line) in raw.iter().enumerate() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", value @ ("\\" | "`")) if escape.is_none() => escape = value.chars().next(),
            ("escape", value) => {
                return Err(ParseError {
                    line: at + 1,
                    why: format!("the escape directive is once \\ or `, not {value:?}"),
                });
            }
            ("syntax" | "check", _) => {}
            _ => break,
        }
    }
    Ok(escape.unwrap_or('\\'))
}

/// The line without the escape character that ends it, if one does.
fn continued(line: &str, escape: char) -> Option<&str> {
    line.trim_end_matches([' ', '\t', '\r']).strip_suffix(escape)
}

fn takes_heredocs(line: &str) -> bool {
    let mut words = line.split_whitespace().map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    let word = if first == "ONBUILD" { words.next().unwrap_or_default() } else { first };
    matches!(word.as_str(), "RUN" | "COPY" | "ADD")
}

/// The heredocs a line opens: name, whether tabs are stripped, whether variables are expanded.
fn openings(line: &str) -> Vec<(String, bool, bool)> {
    let mut found = Vec::new();
    let bytes = line.as_bytes();
    let (mut at, mut quote) = (0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'\\') => at += 1,
            (None, b @ (b'\'' | b'"')) => quote = Some(b),
            (Some(open), b) if b == open => quote = None,
            (None, b'<') if line[at..].starts_with("<<<") => at += 2,
            (None, b'<') if line[at..].starts_with("<<") => {
                let rest = &line[at + 2..];
                let (strip, rest) = rest.strip_prefix('-').map_or((false, rest), |r| (true, r));
                let (name, quoted) = match rest.chars().next() {
                    Some(q @ ('"' | '\'')) => (rest[1..].split(q).next().unwrap_or_default(), true),
                    _ => (
                        rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default(),
                        false,
                    ),
                };
                if !name.is_empty() {
                    found.push((name.to_owned(), strip, !quoted));
                }
                // Past the quotes of the name, too.
                at += 1 + usize::from(strip) + name.len() + 2 * usize::from(quoted);
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn document(raw: &[&str], start: usize, name: &str, strip: bool) -> Option<(String, usize)> {
    let mut content = String::new();
    for (at, line) in raw.iter().enumerate().skip(start) {
        let line = if strip { line.trim_start_matches('\t') } else { line };
        if line == name {
            return Some((content, at + 1));
        }
        content.push_str(line);
        content.push('\n');
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(dockerfile: &str) -> Vec<String> {
        split(dockerfile).unwrap().lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn continuations_and_comments() {
        let text = "# c\nFROM a\n\nRUN one \\\n  # not this\n\n  two \\ \n three\n  CMD x\\";
        assert_eq!(texts(text), ["FROM a", "RUN one   two  three", "CMD x"]);
        assert_eq!(texts("# escape=`\nRUN a `\nb\\\nCMD c"), ["RUN a b\\", "CMD c"]);
        assert_eq!(texts("\u{feff}FROM a\r\nRUN b \\\r\n c\r\n"), ["FROM a", "RUN b  c"]);
        assert!(split("# escape=x\nFROM a").is_err());
        assert_eq!(split("# a comment\n# escape=`\nFROM a").unwrap().escape, '\\');
    }

    #[test]
    fn heredocs() {
        let text = "RUN <<EOF sh\necho $a\n# kept\nEOF\nCOPY <<-'A' <<B /d/\n\tone\nA\ntwo\nB\nRUN cat <<< x \"<<Q\"";
        let lines = split(text).unwrap().lines;
        assert_eq!(lines[0].heredocs[0].content, "echo $a\n# kept\n");
        assert!(lines[0].heredocs[0].expand);
        let [a, b] = &lines[1].heredocs[..] else { panic!("{:?}", lines[1]) };
        assert_eq!(
            (a.content.as_str(), a.expand, b.content.as_str(), b.expand),
            ("one\n", false, "two\n", true)
        );
        assert!(lines[2].heredocs.is_empty());
        assert!(split("RUN <<EOF\nx").is_err());
        assert!(split("CMD <<EOF\n").is_ok());
    }
}
