//! `-v` and `--tmpfs`.

use std::path::Path;

/// What a `-v` value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A volume without name at a path of the container.
    Anonymous(String),
    /// `source:target[:options]`, with relative host paths made absolute.
    Bind(String),
}

/// Parses a `-v` value.
pub(crate) fn volume(text: &str, current_dir: &Path) -> Result<Volume, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let invalid = |why: &str| Err(format!("invalid volume specification: '{text}': {why}"));
    match parts.as_slice() {
        [target] | [target, ""] => {
            if target.is_empty() {
                return invalid("the path is empty");
            }
            Ok(Volume::Anonymous((*target).to_owned()))
        }
        [source, target] | [source, target, _] => {
            if source.is_empty() {
                return invalid("the source is empty");
            }
            if !target.starts_with('/') {
                return invalid("the path inside the container must be absolute");
            }
            if *target == "/" {
                return invalid("destination can't be '/'");
            }
            let source = if source.starts_with('.') || source.starts_with('~') {
                absolute(source, current_dir)
            } else {
                (*source).to_owned()
            };
            let options = parts.get(2).map(|options| format!(":{options}")).unwrap_or_default();
            Ok(Volume::Bind(format!("{source}:{target}{options}")))
        }
        _ => invalid("at most source, target and options are expected"),
    }
}

/// `/run:size=1m,mode=700` as path and options.
pub(crate) fn tmpfs(text: &str) -> (String, String) {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    (path.to_owned(), options.to_owned())
}

/// A path relative to a directory, without `.` and `..` in it.
pub(crate) fn absolute(path: &str, current_dir: &Path) -> String {
    let mut clean = std::path::PathBuf::new();
    for part in current_dir.join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |text| volume(text, Path::new("/srv/dir"));
        assert_eq!(parse("/data").unwrap(), Volume::Anonymous("/data".into()));
        assert_eq!(parse("/a:/b:ro").unwrap(), Volume::Bind("/a:/b:ro".into()));
        assert_eq!(parse("named:/b").unwrap(), Volume::Bind("named:/b".into()));
        assert_eq!(parse("./x:/b").unwrap(), Volume::Bind("/srv/dir/x:/b".into()));
        assert_eq!(parse("../x:/b:z").unwrap(), Volume::Bind("/srv/x:/b:z".into()));
        for bad in ["", "a:b", ":/b", "a:/", "a:/b:ro:x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(tmpfs("/run:size=1m"), ("/run".into(), "size=1m".into()));
    }
}
