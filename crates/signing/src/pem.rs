//! PEM (RFC 7468): base64 between two lines that say what it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of base64 in a line.
const LINE: usize = 64;

/// The sections of a text that are whole: what they are called and their content.
pub(crate) fn sections(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) {
            open = Some((label.to_owned(), String::new()));
        } else if let Some(label) = line.strip_prefix("-----END ").and_then(|l| l.strip_suffix("-----")) {
            if let Some((begun, body)) = open.take()
                && begun == label
                && let Ok(content) = STANDARD.decode(body)
            {
                found.push((begun, content));
            }
        } else if let Some((_, body)) = &mut open {
            body.push_str(line);
        }
    }
    found
}

/// A section as text.
pub(crate) fn write(label: &str, content: &[u8]) -> String {
    let body = STANDARD.encode(content);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + "-----END " + label + "-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let content: Vec<u8> = (0..200).collect();
        let text = format!("a comment\n{}{}", write("A KEY", &content), write("B", b""));
        assert_eq!(sections(&text), [("A KEY".to_owned(), content), ("B".to_owned(), vec![])]);
        assert!(text.lines().all(|line| line.len() <= LINE));
        for broken in ["-----BEGIN A-----\nAAAA", "-----BEGIN A-----\nAAAA\n-----END B-----", "AAAA"] {
            assert_eq!(sections(broken), [], "{broken}");
        }
    }
}
