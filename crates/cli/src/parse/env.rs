//! Environment variables and labels, from flags and from files.

use std::path::Path;

/// Variables of files, then those of flags. A name without value takes it from our own environment, or is
/// left out.
pub(crate) fn variables(files: &[String], flags: &[String]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in files {
        all.extend(from_file(Path::new(file), true)?);
    }
    for flag in flags {
        if flag.starts_with('=') || flag.is_empty() {
            return Err(format!("invalid environment variable: {flag}"));
        }
        all.extend(resolve(flag));
    }
    Ok(all)
}

/// Labels of files, then those of flags, as key and value.
pub(crate) fn labels(files: &[String], flags: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for file in files {
        all.extend(from_file(Path::new(file), false)?);
    }
    all.extend(flags.iter().cloned());
    all.iter()
        .map(|label| match super::pair(label) {
            (key, _) if key.is_empty() => Err(format!("invalid label '{label}': empty name")),
            pair => Ok(pair),
        })
        .collect()
}

fn resolve(variable: &str) -> Option<String> {
    if variable.contains('=') {
        return Some(variable.to_owned());
    }
    std::env::var(variable).ok().map(|value| format!("{variable}={value}"))
}

fn from_file(path: &Path, is_environment: bool) -> Result<Vec<String>, String> {
    let content = std::fs::read_to_string(path).map_err(|e| format!("open {}: {e}", path.display()))?;
    let mut lines = Vec::new();
    for line in content.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("{}: no variable name on line '{line}'", path.display()));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("{}: variable '{name}' contains whitespaces", path.display()));
        }
        if is_environment {
            lines.extend(resolve(line));
        } else {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_flags() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        std::fs::write(&path, "# comment\n\nA=1\n  B=two words\nPATH\nNO_SUCH_VARIABLE_HERE\nC=\n").unwrap();
        let file = path.to_str().unwrap().to_owned();
        let found =
            variables(std::slice::from_ref(&file), &["A=2".into(), "NO_SUCH_VARIABLE_HERE".into()]).unwrap();
        let path_variable = format!("PATH={}", std::env::var("PATH").unwrap());
        assert_eq!(found, ["A=1", "B=two words", &path_variable, "C=", "A=2"]);
        assert!(variables(&[], &["=x".into()]).is_err());
        std::fs::write(&path, "a b=1\n").unwrap();
        assert!(variables(&[file], &[]).unwrap_err().contains("contains whitespaces"));
        assert_eq!(
            labels(&[], &["a".into(), "b=c=d".into()]).unwrap(),
            [("a".into(), "".into()), ("b".into(), "c=d".into())]
        );
    }
}
