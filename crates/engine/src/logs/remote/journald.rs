//! journald's native protocol: one datagram of fields an entry.

use super::super::LogEntry;
use super::super::about::About;
use super::line;
use super::transport::Address;

const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) fn address() -> Address {
    Address::UnixDatagram(vec![SOCKET.into()])
}

pub(super) struct Encoder {
    fixed: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(about: About) -> Self {
        let mut fixed = Vec::new();
        let short = about.id.get(..12).unwrap_or(&about.id);
        let fields = [
            ("CONTAINER_ID", short),
            ("CONTAINER_ID_FULL", &about.id),
            ("CONTAINER_NAME", &about.name),
            ("CONTAINER_TAG", &about.tag),
            ("IMAGE_NAME", &about.image_name),
            ("SYSLOG_IDENTIFIER", &about.tag),
        ];
        for (key, value) in fields {
            field(&mut fixed, key, value);
        }
        for (key, value) in &about.extra {
            field(&mut fixed, &name(key), value);
        }
        Self { fixed }
    }

    pub(super) fn encode(&self, entry: &LogEntry) -> Vec<u8> {
        let mut out = self.fixed.clone();
        field(&mut out, "PRIORITY", if entry.stderr { "3" } else { "6" });
        field(&mut out, "SYSLOG_TIMESTAMP", &entry.time);
        if !entry.text.ends_with('\n') {
            field(&mut out, "CONTAINER_PARTIAL_MESSAGE", "true");
        }
        field(&mut out, "MESSAGE", line(entry));
        out
    }
}

/// A name of capital letters, digits and underscores that begins with a letter.
fn name(key: &str) -> String {
    let upper = key.to_ascii_uppercase();
    let word: String = upper.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    word.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit()).to_owned()
}

/// `NAME=value`, or with its length where a value has several lines.
fn field(out: &mut Vec<u8>, key: &str, value: &str) {
    if key.is_empty() {
        return;
    }
    out.extend_from_slice(key.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let extra = [("my.label".to_owned(), "a\nb".to_owned())].into();
        let about = About { id: "0123456789abcdef".into(), name: "web".into(), extra, ..About::default() };
        let entry = LogEntry { stderr: true, text: "oops\n".into(), ..LogEntry::default() };
        let sent = Encoder::new(about).encode(&entry);
        let text = String::from_utf8_lossy(&sent);
        assert!(
            text.starts_with("CONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL=0123456789abcdef\n"),
            "{text}"
        );
        assert!(text.contains("MY_LABEL\n\u{3}\0\0\0\0\0\0\0a\nb\n"), "{text}");
        assert!(text.contains("PRIORITY=3\n") && text.ends_with("MESSAGE=oops\n"), "{text}");
    }
}
