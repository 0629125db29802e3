//! Fluentd's forward protocol, version 1: one message of MessagePack an entry.

use super::super::LogEntry;
use super::super::about::About;
use super::line;
use super::transport::Address;
use crate::clock::parse_rfc3339;
use std::sync::atomic::{AtomicU64, Ordering};
use wharf_model::container::LogSpec;
use wharf_model::logging::flag;
use wharf_model::{Error, Result};

const PORT: u16 = 24224;

pub(super) struct Encoder {
    about: About,
    /// Times with nanoseconds.
    precise: bool,
    /// The receiver says that it has a message.
    acknowledged: bool,
    next: AtomicU64,
}

pub(super) fn parse(log: &LogSpec, about: About) -> Result<(Address, Encoder)> {
    let text = log.option("fluentd-address").unwrap_or_default();
    let address = match text {
        "" => Address::Tcp(format!("127.0.0.1:{PORT}")),
        text if text.contains("://") => Address::parse("fluentd-address", text, PORT)?,
        text => Address::parse("fluentd-address", &format!("tcp://{text}"), PORT)?,
    };
    if !matches!(address, Address::Tcp(_) | Address::Unix(_)) {
        return Err(Error::invalid(format!(
            "invalid fluentd-address {text:?}: tcp:// or unix:// is expected"
        )));
    }
    let is_on = |name: &str| match log.option(name) {
        None => Ok(false),
        Some(text) => flag(text).ok_or_else(|| {
            Error::invalid(format!("invalid value for {name}: {text:?}: true or false is expected"))
        }),
    };
    is_on("fluentd-async")?;
    let (precise, acknowledged) = (is_on("fluentd-sub-second-precision")?, is_on("fluentd-request-ack")?);
    Ok((address, Encoder { about, precise, acknowledged, next: AtomicU64::new(1) }))
}

impl Encoder {
    /// The message, and the id by which the receiver acknowledges it; empty without.
    pub(super) fn encode(&self, entry: &LogEntry) -> (Vec<u8>, String) {
        let about = &self.about;
        let mut record = vec![
            ("container_id", about.id.as_str()),
            ("container_name", about.name.as_str()),
            ("source", if entry.stderr { "stderr" } else { "stdout" }),
            ("log", line(entry)),
        ];
        record.extend(about.extra.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        if !entry.text.ends_with('\n') {
            record.push(("partial_message", "true"));
        }
        let mut out = Vec::with_capacity(entry.text.len() + 256);
        array(&mut out, if self.acknowledged { 4 } else { 3 });
        text(&mut out, &about.tag);
        self.time(&mut out, parse_rfc3339(&entry.time).unwrap_or(0));
        map(&mut out, &record);
        let mut id = String::new();
        if self.acknowledged {
            id = format!("{}-{}", about.id, self.next.fetch_add(1, Ordering::Relaxed));
            map(&mut out, &[("chunk", &id)]);
        }
        (out, id)
    }

    fn time(&self, out: &mut Vec<u8>, ns: i128) {
        let (seconds, rest) = ((ns / 1_000_000_000) as u64, (ns % 1_000_000_000) as u32);
        if self.precise {
            // EventTime: an extension of eight bytes, type 0.
            out.extend_from_slice(&[0xd7, 0]);
            out.extend_from_slice(&(seconds as u32).to_be_bytes());
            out.extend_from_slice(&rest.to_be_bytes());
        } else {
            out.push(0xcf);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

fn array(out: &mut Vec<u8>, length: u8) {
    out.push(0x90 | length);
}

fn map(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    match u8::try_from(pairs.len()) {
        Ok(short @ 0..=15) => out.push(0x80 | short),
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&(pairs.len() as u32).to_be_bytes());
        }
    }
    for (key, value) in pairs {
        text(out, key);
        text(out, value);
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    match value.len() {
        short @ 0..=31 => out.push(0xa0 | short as u8),
        // A line has at most 16 KiB, a label or a variable far less than 4 GiB.
        long => {
            out.push(0xdb);
            out.extend_from_slice(&(long as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn encoder(options: &[(&str, &str)]) -> Result<(Address, Encoder)> {
        let options: BTreeMap<_, _> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let about = About { id: "abc".into(), name: "w".into(), tag: "t".into(), ..About::default() };
        parse(&LogSpec::parse("fluentd", options)?, about)
    }

    #[test]
    fn a_message_by_its_bytes() {
        let (address, encoder) = encoder(&[]).unwrap();
        assert_eq!(address, Address::Tcp("127.0.0.1:24224".into()));
        let entry =
            LogEntry { time: "1970-01-01T00:00:02Z".into(), text: "hi\n".into(), ..LogEntry::default() };
        let (bytes, id) = encoder.encode(&entry);
        let head = b"\x93\xa1t\xcf\0\0\0\0\0\0\0\x02\x84\xaccontainer_id\xa3abc\xaecontainer_name\xa1w";
        assert_eq!(&bytes[..head.len()], head);
        assert!(bytes.ends_with(b"\xa6source\xa6stdout\xa3log\xa2hi") && id.is_empty());
    }

    #[test]
    fn options_are_checked() {
        let (address, precise) =
            encoder(&[("fluentd-address", "h"), ("fluentd-sub-second-precision", "true")]).unwrap();
        assert_eq!(address, Address::Tcp("h:24224".into()));
        let entry = LogEntry { time: "1970-01-01T00:00:02.000000003Z".into(), ..LogEntry::default() };
        assert_eq!(&precise.encode(&entry).0[3..13], b"\xd7\0\0\0\0\x02\0\0\0\x03");
        assert!(encoder(&[("fluentd-address", "udp://h")]).is_err());
        assert!(encoder(&[("fluentd-async", "perhaps")]).is_err());
        let (_, asking) = encoder(&[("fluentd-request-ack", "true")]).unwrap();
        assert_eq!(asking.encode(&entry).1, "abc-1");
    }
}
