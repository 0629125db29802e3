//! `.dockerignore`.

use std::path::Path;

/// Patterns of a `.dockerignore`, in order; the last that matches decides.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// `!`: what matches is sent after all.
    keep: bool,
    parts: Vec<String>,
}

impl Ignore {
    /// Parses the file.
    pub(crate) fn parse(text: &str) -> Self {
        let patterns = text
            .trim_start_matches('\u{feff}')
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::trim)
            .filter_map(|line| {
                let (keep, line) = match line.strip_prefix('!') {
                    Some(rest) => (true, rest.trim()),
                    None => (false, line),
                };
                let mut parts: Vec<String> = Vec::new();
                for part in line.split('/').filter(|part| !part.is_empty() && *part != ".") {
                    if part == ".." {
                        parts.pop();
                    } else {
                        parts.push(part.to_owned());
                    }
                }
                (!parts.is_empty()).then_some(Pattern { keep, parts })
            })
            .collect();
        Self { patterns }
    }

    /// Whether a path, relative to the context, is left out. A pattern that matches a directory matches all
    /// that is in it.
    pub(crate) fn excludes(&self, path: &Path) -> bool {
        // A name that is no text matches by the rest of it.
        let parts: Vec<_> = path.iter().map(std::ffi::OsStr::to_string_lossy).collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            if excluded != pattern.keep {
                continue;
            }
            if (1..=parts.len()).any(|len| matches(&pattern.parts, &parts[..len])) {
                excluded = !pattern.keep;
            }
        }
        excluded
    }

    /// Whether anything below an excluded directory may be sent after all, so that it must be looked into.
    pub(crate) fn may_keep_below(&self, _dir: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.keep)
    }
}

fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            // Any number of directories; at the end of a pattern at least one name.
            if rest.is_empty() {
                !path.is_empty()
            } else {
                (0..=path.len()).any(|skip| matches(rest, &path[skip..]))
            }
        }
        (Some((first, rest)), Some((name, below))) => {
            let (first, name): (Vec<char>, Vec<char>) = (first.chars().collect(), name.chars().collect());
            glob(&first, &name) && matches(rest, below)
        }
        _ => false,
    }
}

/// One name against `*`, `?`, `[a-z]` and `\x`.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skip| glob(rest, &name[skip..])),
        Some(('?', rest)) => name.split_first().is_some_and(|(_, name)| glob(rest, name)),
        Some(('[', rest)) => {
            let Some(end) = rest.iter().position(|c| *c == ']') else { return false };
            let Some((first, name)) = name.split_first() else { return false };
            let (negated, set) = match rest[..end].split_first() {
                Some(('^' | '!', set)) => (true, set),
                _ => (false, &rest[..end]),
            };
            in_set(set, *first) != negated && glob(&rest[end + 1..], name)
        }
        Some(('\\', rest)) if !rest.is_empty() => {
            name.first() == rest.first() && !name.is_empty() && glob(&rest[1..], &name[1..])
        }
        Some((letter, rest)) => name.first() == Some(letter) && glob(rest, &name[1..]),
    }
}

fn in_set(set: &[char], wanted: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            if (set[at]..=set[at + 2]).contains(&wanted) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == wanted {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let ignore = Ignore::parse(
            "# comment\n\n*.md\n!README.md\n/target\nsub/*/x?\n**/*.log\nfoo/**\n[a-c]1\n./dir/../only\nkeep\n!keep/this\n",
        );
        let excluded = |path: &str| ignore.excludes(Path::new(path));
        for path in [
            "a.md",
            "target",
            "target/deep/er",
            "sub/1/xy",
            "x.log",
            "a/b/c.log",
            "foo/a",
            "b1",
            "only",
            "keep/other",
        ] {
            assert!(excluded(path), "{path}");
        }
        for path in ["README.md", "sub/a.md", "sub/x1", "foo", "d1", "dir", "keep/this", "keep/this/file"] {
            assert!(!excluded(path), "{path}");
        }
        assert!(!Ignore::default().excludes(Path::new("x")));
    }
}
