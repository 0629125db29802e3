//! GELF 1.1: JSON over UDP, compressed and in chunks, or over TCP, ended by a zero byte.

use super::super::LogEntry;
use super::super::about::About;
use super::line;
use super::transport::Address;
use crate::clock::{parse_rfc3339, rfc3339};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use wharf_model::container::LogSpec;
use wharf_model::{Error, Result};

const PORT: u16 = 12201;
/// Bytes of a datagram: fits the usual MTU beside the heads of IP and UDP.
const CHUNK: usize = 1420;
/// Bytes of a chunk's head: two magic ones, eight of the message's id, its number, and how many there are.
const HEAD: usize = 12;
const MOST_CHUNKS: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Gzip,
    Zlib,
}

pub(super) struct Encoder {
    kind: Kind,
    level: Compression,
    fixed: Map<String, Value>,
}

pub(super) fn parse(log: &LogSpec, about: About) -> Result<(Address, Encoder)> {
    let text = log.option("gelf-address").unwrap_or_default();
    if text.is_empty() {
        return Err(Error::invalid("gelf-address is a required parameter"));
    }
    let address = Address::parse("gelf-address", text, PORT)?;
    if !matches!(address, Address::Udp(_) | Address::Tcp(_)) {
        return Err(Error::invalid(format!("gelf: endpoint needs to be TCP or UDP, not {text:?}")));
    }
    let kind = match log.option("gelf-compression-type").unwrap_or("gzip") {
        "gzip" => Kind::Gzip,
        "zlib" => Kind::Zlib,
        "none" => Kind::None,
        other => {
            return Err(Error::invalid(format!(
                "unknown value {other:?} for log opt 'gelf-compression-type' for gelf log driver"
            )));
        }
    };
    let level = match log.option("gelf-compression-level") {
        None => Compression::fast(),
        Some(text) => text.parse().ok().filter(|n| (-1..=9).contains(n)).map_or_else(
            || {
                Err(Error::invalid(format!(
                    "unknown value {text:?} for log opt 'gelf-compression-level' for gelf log driver"
                )))
            },
            |n: i32| Ok(u32::try_from(n).map_or(Compression::default(), Compression::new)),
        )?,
    };
    Ok((address, Encoder { kind, level, fixed: fixed(about) }))
}

/// What every message tells.
fn fixed(about: About) -> Map<String, Value> {
    let mut fixed = Map::new();
    let mut put = |key: &str, value: String| fixed.insert(key.to_owned(), Value::String(value));
    put("version", "1.1".to_owned());
    put("host", about.host);
    put("_command", about.command);
    put("_container_id", about.id);
    put("_container_name", about.name);
    put("_created", rfc3339(about.created_ns));
    put("_image_id", about.image_id);
    put("_image_name", about.image_name);
    put("_tag", about.tag);
    for (key, value) in about.extra {
        put(&format!("_{key}"), value);
    }
    fixed
}

impl Encoder {
    /// The datagrams, or the bytes of a stream. An empty line is none.
    pub(super) fn encode(&self, entry: &LogEntry, datagrams: bool) -> io::Result<Vec<Vec<u8>>> {
        let text = line(entry);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut message = self.fixed.clone();
        let milliseconds = parse_rfc3339(&entry.time).unwrap_or(0) / 1_000_000;
        message.insert("short_message".to_owned(), Value::String(text.to_owned()));
        message.insert("timestamp".to_owned(), json!(milliseconds as f64 / 1000.0));
        message.insert("level".to_owned(), json!(if entry.stderr { 3 } else { 6 }));
        let mut bytes = serde_json::to_vec(&message)?;
        if !datagrams {
            bytes.push(0);
            return Ok(vec![bytes]);
        }
        let bytes = match self.kind {
            Kind::None => bytes,
            Kind::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), self.level);
                encoder.write_all(&bytes)?;
                encoder.finish()?
            }
            Kind::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), self.level);
                encoder.write_all(&bytes)?;
                encoder.finish()?
            }
        };
        chunks(&bytes)
    }
}

fn chunks(bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    if bytes.len() <= CHUNK {
        return Ok(vec![bytes.to_vec()]);
    }
    let pieces: Vec<&[u8]> = bytes.chunks(CHUNK - HEAD).collect();
    let count = u8::try_from(pieces.len()).ok().filter(|n| usize::from(*n) <= MOST_CHUNKS);
    let count = count.ok_or_else(|| io::Error::other("the message is longer than 128 chunks"))?;
    let id = crate::random::bytes().map_err(|e| io::Error::other(e.full()))?;
    let id = &id[..8];
    let chunk = |(number, piece): (u8, &[u8])| [&[0x1e, 0x0f][..], id, &[number, count], piece].concat();
    Ok((0..count).zip(pieces).map(chunk).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn encoder(options: &[(&str, &str)]) -> Result<Encoder> {
        let options: BTreeMap<_, _> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let extra = BTreeMap::from([("zone".to_owned(), "b".to_owned())]);
        let about = About { name: "web".into(), host: "node".into(), extra, ..About::default() };
        parse(&LogSpec::parse("gelf", options)?, about).map(|(_, encoder)| encoder)
    }

    fn entry(text: &str) -> LogEntry {
        LogEntry { time: "1970-01-01T00:00:01.5Z".into(), text: text.into(), ..LogEntry::default() }
    }

    #[test]
    fn messages_of_both_transports() {
        let encoder = encoder(&[("gelf-address", "udp://h:1")]).unwrap();
        let sent = encoder.encode(&entry("hi\n"), true).unwrap();
        let text = io::read_to_string(flate2::read::GzDecoder::new(&sent[0][..])).unwrap();
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&message["short_message"], &message["timestamp"], &message["level"], &message["_zone"]),
            (&json!("hi"), &json!(1.5), &json!(6), &json!("b"))
        );
        let stream = encoder.encode(&entry("hi\n"), false).unwrap();
        assert_eq!(stream[0].last(), Some(&0));
        assert!(encoder.encode(&entry("\n"), true).unwrap().is_empty());
    }

    #[test]
    fn long_messages_come_in_chunks() {
        let options = [("gelf-address", "udp://h:1"), ("gelf-compression-type", "none")];
        let sent = encoder(&options).unwrap().encode(&entry(&"x".repeat(5000)), true).unwrap();
        assert!(sent.len() == 4 && sent.iter().all(|c| c.len() <= CHUNK && c[..2] == [0x1e, 0x0f]));
        let whole: Vec<u8> = sent.iter().flat_map(|c| c[HEAD..].to_vec()).collect();
        assert!(serde_json::from_slice::<Value>(&whole).is_ok());
        assert_eq!(sent.iter().map(|c| (c[10], c[11])).collect::<Vec<_>>(), [(0, 4), (1, 4), (2, 4), (3, 4)]);
    }

    #[test]
    fn options_are_checked() {
        assert!(encoder(&[]).is_err());
        assert!(encoder(&[("gelf-address", "unix:///x")]).is_err());
        for (key, value) in [("gelf-compression-type", "xz"), ("gelf-compression-level", "10")] {
            assert!(encoder(&[("gelf-address", "udp://h"), (key, value)]).is_err(), "{key}");
        }
    }
}
