//! Pax extended headers: records of `length key=value\n`.

use super::Timestamp;

/// The records of one extended header, in order.
#[derive(Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Parses a header's content. Values may hold any byte, newlines too: the length counts.
    pub(super) fn parse(mut content: &[u8]) -> Result<Self, &'static str> {
        let mut records = Vec::new();
        while !content.is_empty() {
            let space = content.iter().take(20).position(|b| *b == b' ').ok_or("a record has no length")?;
            let length = decimal(&content[..space]).ok_or("a record's length is not a number")?;
            let length = usize::try_from(length).map_err(|_| "a record's length is too large")?;
            if length <= space + 1 || length > content.len() || content[length - 1] != b'\n' {
                return Err("a record's length is wrong");
            }
            let record = &content[space + 1..length - 1];
            let equals = record.iter().position(|b| *b == b'=').ok_or("a record has no value")?;
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            content = &content[length..];
        }
        Ok(Self(records))
    }

    /// The last value of a key; an empty one counts as none.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(k, _)| k == key.as_bytes());
        found.map(|(_, value)| value.as_slice()).filter(|v| !v.is_empty())
    }

    /// A key's value as a number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, &'static str> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => decimal(value).map(Some).ok_or("a number is malformed"),
        }
    }

    /// A key's value as a time.
    pub(super) fn time(&self, key: &str) -> Result<Option<Timestamp>, &'static str> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => timestamp(value).map(Some).ok_or("a time is malformed"),
        }
    }

    /// Keys with a prefix, the prefix taken off.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.0.iter().filter_map(move |(k, v)| Some((k.strip_prefix(prefix.as_bytes())?, v.as_slice())))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))
    }
}

/// Decimal digits, nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[-]seconds[.fraction]`.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanos: u32 = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for at in 0..9 {
            nanos = nanos * 10 + u32::from(fraction.get(at).map_or(0, |b| b - b'0'));
        }
    }
    Some(match (negative, nanos) {
        (false, _) => Timestamp { seconds, nanos },
        (true, 0) => Timestamp { seconds: -seconds, nanos: 0 },
        (true, _) => Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// Appends a record.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}
