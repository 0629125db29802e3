//! Words: splitting, quotes and variables (`$a`, `${a}`, `${a:-word}`, `${a:+word}`, `${a:?word}`).

use std::iter::Peekable;
use std::str::Chars;

/// Variables nested in each other's defaults: deeper is a mistake or an attack.
const MAX_DEPTH: usize = 32;

/// Looks a variable up.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands variables and removes quotes; the result is one word whatever it holds.
pub fn expand_word(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expander =
        Expander { chars: text.chars().peekable(), escape, lookup, words: vec![], split: false };
    expander.run(0).map(|words| words.concat())
}

/// The same, split at blanks: also those that came out of unquoted variables.
pub fn expand_words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut expander =
        Expander { chars: text.chars().peekable(), escape, lookup, words: vec![], split: true };
    expander.run(0)
}

struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
    words: Vec<String>,
    split: bool,
}

impl Expander<'_> {
    fn run(&mut self, depth: usize) -> Result<Vec<String>, String> {
        let mut word: Option<String> = None;
        while let Some(c) = self.chars.next() {
            match c {
                '\'' => {
                    let word = word.get_or_insert_default();
                    loop {
                        match self.chars.next() {
                            Some('\'') => break,
                            Some(c) => word.push(c),
                            None => {
                                return Err(
                                    "unexpected end of statement while looking for matching single-quote"
                                        .into(),
                                );
                            }
                        }
                    }
                }
                '"' => self.double_quoted(word.get_or_insert_default(), depth)?,
                '$' => {
                    let value = self.variable(depth)?;
                    if self.split {
                        self.append_split(&mut word, &value);
                    } else {
                        word.get_or_insert_default().push_str(&value);
                    }
                }
                c if c == self.escape => match self.chars.next() {
                    Some(next) => word.get_or_insert_default().push(next),
                    None => word.get_or_insert_default().push(c),
                },
                c if self.split && c.is_whitespace() => self.words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        self.words.extend(word);
        Ok(std::mem::take(&mut self.words))
    }

    fn append_split(&mut self, word: &mut Option<String>, value: &str) {
        for c in value.chars() {
            if c.is_whitespace() {
                self.words.extend(word.take());
            } else {
                word.get_or_insert_default().push(c);
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String, depth: usize) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => word.push_str(&self.variable(depth)?),
                Some(c) if c == self.escape => match self.chars.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => word.push(next),
                    Some(next) => word.extend([c, next]),
                    None => {
                        return Err(
                            "unexpected end of statement while looking for matching double-quote".into()
                        );
                    }
                },
                Some(c) => word.push(c),
                None => {
                    return Err("unexpected end of statement while looking for matching double-quote".into());
                }
            }
        }
    }

    /// After a `$`.
    fn variable(&mut self, depth: usize) -> Result<String, String> {
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                (self.lookup)(&name).unwrap_or_default()
            });
        }
        self.chars.next();
        let name = self.name();
        let (colon, modifier) = match self.chars.next() {
            Some('}') if !name.is_empty() => return Ok((self.lookup)(&name).unwrap_or_default()),
            Some(':') => (true, self.chars.next()),
            other => (false, other),
        };
        let Some(modifier @ ('-' | '+' | '?')) = modifier.filter(|_| !name.is_empty()) else {
            return Err(format!(
                "unsupported modifier in the substitution of {name:?}: -, + and ? are known"
            ));
        };
        let inner = self.braced()?;
        if depth >= MAX_DEPTH {
            return Err("variables are nested too deeply".into());
        }
        let value = (self.lookup)(&name).filter(|v| !colon || !v.is_empty());
        let expand = |lookup| {
            let mut inner = Expander {
                chars: inner.chars().peekable(),
                escape: self.escape,
                lookup,
                words: vec![],
                split: false,
            };
            inner.run(depth + 1).map(|words| words.concat())
        };
        match (modifier, value) {
            ('-', Some(value)) => Ok(value),
            ('-', None) | ('+', Some(_)) => expand(self.lookup),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            (_, None) => Err(format!("{name}: {}", expand(self.lookup)?)),
        }
    }

    /// Up to the closing brace, inner ones counted.
    fn braced(&mut self) -> Result<String, String> {
        let (mut text, mut open) = (String::new(), 1);
        while let Some(c) = self.chars.next() {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                c if c == self.escape => {
                    text.push(c);
                    text.extend(self.chars.next());
                    continue;
                }
                _ => {}
            }
            if open == 0 {
                return Ok(text);
            }
            text.push(c);
        }
        Err("a substitution has no closing brace".into())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.chars.peek().copied() {
            let first = name.is_empty();
            let digit = first && c.is_ascii_digit();
            if !(c == '_' || c.is_ascii_alphabetic() || c.is_ascii_digit()) {
                break;
            }
            name.push(c);
            self.chars.next();
            // `$1` is one character, as in a shell.
            if digit {
                break;
            }
        }
        name
    }
}

/// Splits at blanks outside quotes; quotes and escapes stay, for what expands them later.
pub(super) fn split_raw(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), c) if c == escape => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "a" => Some("A".into()),
            "two" => Some("x y".into()),
            "empty" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables() {
        for (text, expected) in [
            ("$a-${a}", "A-A"),
            ("${none}${none:-d}${a:-d}", "dA"),
            ("${empty:-d}${empty-d}", "d"),
            ("${a:+s}${none:+s}${empty+s}", "ss"),
            ("${none:-${a}${none:-{x}}}", "A{x}"),
            ("'$a' \"$a\" \\$a", "$a A $a"),
            ("\"a \\\" \\n\"", "a \" \\n"),
            ("$", "$"),
            ("$two", "x y"),
            ("$a_b${a}_b", "A_b"),
        ] {
            assert_eq!(expand_word(text, '\\', &lookup).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["${a", "${a!b}", "${}", "'x", "\"x", "${none:?why}"] {
            assert!(expand_word(bad, '\\', &lookup).is_err(), "{bad}");
        }
        assert_eq!(expand_word("${none:?why}", '\\', &lookup), Err("none: why".into()));
        let deep = "${x:-".repeat(100) + &"}".repeat(100);
        assert!(expand_word(&deep, '\\', &lookup).is_err());
    }

    #[test]
    fn words() {
        assert_eq!(expand_words("a $two \"$two\" ''", '\\', &lookup).unwrap(), ["a", "x", "y", "x y", ""]);
        assert_eq!(split_raw("a=\"b c\" d\\ e 'f g'", '\\'), ["a=\"b c\"", "d\\ e", "'f g'"]);
    }
}
