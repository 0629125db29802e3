//! Patterns of paths: `*`, `?`, `[a-z]` within a component, `**` across (Go's `filepath.Match`).

/// Whether a component matches a pattern. Both may be any text without `/`.
fn component(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| component(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && component(rest, &text[1..]),
        ['[', rest @ ..] => {
            let Some((first, left)) = text.split_first() else { return false };
            let Some((matches, rest)) = class(rest, *first) else { return false };
            matches && component(rest, left)
        }
        ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && component(rest, &text[1..]),
    }
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
    match pattern {
        [] => path.is_empty(),
        [first, rest @ ..] if first[..] == ['*', '*'] => {
            (0..=path.len()).any(|skip| components(rest, &path[skip..]))
        }
        [first, rest @ ..] => {
            path.first().is_some_and(|p| component(first, p)) && components(rest, &path[1..])
        }
    }
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
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("*.go", "a/b.go"), ("a", "a/b"), ("[a-c]", "d"), ("?", ""), ("[", "x"), ("a*", "ba")]
        {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
