//! Paths by their text, for what is not there to be asked.

/// The absolute path that a text means, without `.`, `..` and doubled slashes. Links are not known here.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("//proc/./x/.."), "/proc");
        assert_eq!(clean("/../a/../../proc/"), "/proc");
        assert_eq!((clean("a/b"), clean("/.."), clean("")), ("/a/b".into(), "/".into(), "/".into()));
    }
}
