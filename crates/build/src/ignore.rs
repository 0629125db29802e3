//! `.dockerignore`: what of a context is left out.

use crate::pattern::matches;

/// The rules of a `.dockerignore` file; the last that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: String,
    exclude: bool,
}

impl Ignore {
    /// Parses a file. A line is a comment, a pattern, or `!` and a pattern of what is kept after all.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines =
            text.lines().filter(|line| !line.starts_with('#')).map(str::trim).filter(|line| !line.is_empty());
        let rule = |line: &str| {
            let (exclude, pattern) = line.strip_prefix('!').map_or((true, line), |rest| (false, rest.trim()));
            let pattern = clean(pattern);
            (!pattern.is_empty()).then_some(Rule { pattern, exclude })
        };
        Self(lines.filter_map(rule).collect())
    }

    /// Whether a path is left out: it or a directory above it matches.
    pub fn excludes(&self, path: &str) -> bool {
        let path = clean(path);
        let mut excluded = false;
        for rule in &self.0 {
            if rule.exclude != excluded && Self::covers(&rule.pattern, &path) {
                excluded = rule.exclude;
            }
        }
        excluded
    }

    fn covers(pattern: &str, path: &str) -> bool {
        let ends = path.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| matches(pattern, &path[..end]))
    }

    /// The rules in order, as a file would have them.
    pub fn patterns(&self) -> Vec<String> {
        let written = |rule: &Rule| match rule.exclude {
            true => rule.pattern.clone(),
            false => format!("!{}", rule.pattern),
        };
        self.0.iter().map(written).collect()
    }

    /// Whether there is nothing to leave out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Patterns and paths begin at the context's root.
fn clean(path: &str) -> String {
    wharf_oci::path::clean(path).split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_decides() {
        let ignore =
            Ignore::parse("# c\n*.md\n!README.md\nnode_modules\n/build/\n**/*.tmp\ndocs/*\n!docs/keep\n");
        for out in ["a.md", "node_modules", "node_modules/x/y", "build/a", "x/y.tmp", "docs/a"] {
            assert!(ignore.excludes(out), "{out}");
        }
        for kept in ["README.md", "sub/a.md", "src/build/a", "docs/keep", "docs", "a"] {
            assert!(!ignore.excludes(kept), "{kept}");
        }
        assert!(Ignore::parse("*\n!a").excludes("b") && !Ignore::parse("*\n!a").excludes("a/x"));
    }
}
