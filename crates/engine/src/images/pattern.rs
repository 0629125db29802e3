//! Patterns of names of images.

/// Whether a pattern with `*` matches a text; `*` matches no slash.
pub fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else { return false };
            let reach = rest.find('/').unwrap_or(rest.len());
            (0..=reach).filter(|n| rest.is_char_boundary(*n)).any(|n| glob(tail, &rest[n..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(glob("busy*", "busybox") && glob("*/app", "me/app") && glob("a*c", "abc"));
        assert!(!glob("busy*", "me/busybox") && !glob("*", "me/app") && !glob("a", "ab"));
    }
}
