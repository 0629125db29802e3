//! Patterns of paths: `*`, `?`, `[a-z]` within a component, `**` across (Go's `filepath.Match`).

/// What a component's pattern asks of its text.
enum Token<'a> {
    /// `*`
    Many,
    /// `?`
    Any,
    /// What follows a `[`.
    Class(&'a [char]),
    One(char),
    /// A class without an end matches nothing.
    Never,
}

fn tokens(mut pattern: &[char]) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(pattern.len());
    loop {
        let (token, rest) = match pattern {
            [] => return tokens,
            ['*', rest @ ..] => (Token::Many, rest),
            ['?', rest @ ..] => (Token::Any, rest),
            ['[', rest @ ..] => match class(rest, '\0') {
                Some((_, after)) => (Token::Class(rest), after),
                None => (Token::Never, rest),
            },
            ['\\', c, rest @ ..] | [c, rest @ ..] => (Token::One(*c), rest),
        };
        tokens.push(token);
        pattern = rest;
    }
}

/// Matches with wildcards for any number of items; all else fits one item each. Then only the last wildcard has to be
/// tried with more, so that no pattern takes longer than its length times that of the text.
fn wild<P, T>(
    pattern: &[P],
    text: &[T],
    is_many: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut last = None;
    loop {
        match pattern.get(at) {
            Some(part) if is_many(part) => {
                at += 1;
                last = Some((at, item));
                continue;
            }
            Some(part) if text.get(item).is_some_and(|t| fits(part, t)) => {
                (at, item) = (at + 1, item + 1);
                continue;
            }
            None if item == text.len() => return true,
            _ => {}
        }
        match last {
            Some((after, taken)) if taken < text.len() => {
                (at, item) = (after, taken + 1);
                last = Some((at, item));
            }
            _ => return false,
        }
    }
}

/// Whether a component matches a pattern. Both may be any text without `/`.
fn component(pattern: &[char], text: &[char]) -> bool {
    wild(
        &tokens(pattern),
        text,
        |token| matches!(token, Token::Many),
        |token, c| match token {
            Token::Any => true,
            Token::Class(rest) => class(rest, *c).is_some_and(|(matches, _)| matches),
            Token::One(one) => one == c,
            Token::Many | Token::Never => false,
        },
    )
}

/// A character class after its `[`: whether it matches, and what follows it.
fn class(pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern {
        ['^' | '!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut found, mut first) = (false, true);
    loop {
        match rest {
            [']', after @ ..] if !first => return Some((found != negated, after)),
            [low, '-', high, after @ ..] if *high != ']' => {
                found |= (*low..=*high).contains(&c);
                rest = after;
            }
            [one, after @ ..] => {
                found |= *one == c;
                rest = after;
            }
            [] => return None,
        }
        first = false;
    }
}

fn parts(path: &str) -> Vec<Vec<char>> {
    path.split('/').filter(|p| !matches!(*p, "" | ".")).map(|p| p.chars().collect()).collect()
}

fn components(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    wild(pattern, path, |part| part[..] == ['*', '*'], |part, name| component(part, name))
}

/// The pattern that matches just this text.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Whether a whole path matches a pattern.
pub fn matches(pattern: &str, path: &str) -> bool {
    components(&parts(pattern), &parts(path))
}

/// Whether a text has characters that mean more than themselves.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        for (pattern, path) in [
            ("*.go", "a.go"),
            ("a/*/c", "a/b/c"),
            ("**/c", "c"),
            ("**/c", "a/b/c"),
            ("a/**", "a/b/c"),
            ("a/**", "a"),
            ("[a-c]?", "bx"),
            ("[^a]", "b"),
            ("\\*", "*"),
            ("a/**/z", "a/z"),
            ("./a", "/a"),
            ("**", "x/y"),
            ("a*b*c", "aXbXbXc"),
            ("**/a/**/b", "x/a/a/y/b"),
            ("*[b-d]*", "xxc"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("*.go", "a/b.go"), ("a", "a/b"), ("[a-c]", "d"), ("?", ""), ("[", "x"), ("a*", "ba")]
        {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1000)));
        assert!(!matches(&"**/a/".repeat(500), &"a/".repeat(400)));
    }
}
