//! Lines with their length before them (gitprotocol-common(5), "pkt-line Format").

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use wharf_model::{Error, ErrorKind, Result};

/// Bytes of a line with its length (gitprotocol-common(5): 65520).
const MAX_LINE: usize = 65520;

/// How long a server may say nothing: it looks for objects before it sends the first.
const SILENCE: Duration = Duration::from_secs(120);

/// What a server sends.
pub(crate) type Source = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Text or bytes.
    Line(Bytes),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of an answer.
    End,
}

/// Adds a line.
pub(crate) fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
}

/// A line without its end, unless it is what the server complains of.
pub(crate) fn text_of(line: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(line);
    match text.strip_prefix("ERR ") {
        Some(why) => Err(Error::not_found(format!("the Git server says: {}", why.trim()))),
        None => Ok(text.trim_end_matches('\n').to_owned()),
    }
}

/// The end of a section.
pub(crate) const DELIMITER: &[u8] = b"0001";
/// The end of a message.
pub(crate) const FLUSH: &[u8] = b"0000";

/// Reads packets one after another.
pub(crate) struct Packets {
    source: Source,
    buffer: BytesMut,
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the Git server's answer is broken: {why}"))
}

impl Packets {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, buffer: BytesMut::new() }
    }

    /// The next packet; `None` at the end of what is sent.
    pub(crate) async fn next(&mut self) -> Result<Option<Packet>> {
        if !self.fill(4).await? {
            return if self.buffer.is_empty() { Ok(None) } else { Err(broken("it ends in a length")) };
        }
        let length = std::str::from_utf8(&self.buffer[..4]).ok();
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.ok_or_else(|| broken("a length is no number"))?;
        self.buffer.advance(4);
        Ok(Some(match length {
            0 => Packet::Flush,
            1 => Packet::Delimiter,
            2 => Packet::End,
            3 => return Err(broken("a length is 3")),
            length if length > MAX_LINE => return Err(broken("a line is too long")),
            length => {
                if !self.fill(length - 4).await? {
                    return Err(broken("it ends in a line"));
                }
                Packet::Line(self.buffer.split_to(length - 4).freeze())
            }
        }))
    }

    /// The next line as text without its end; `None` at the end of a section.
    pub(crate) async fn text(&mut self) -> Result<Option<String>> {
        match self.next().await? {
            Some(Packet::Line(line)) => text_of(&line).map(Some),
            _ => Ok(None),
        }
    }

    async fn fill(&mut self, wanted: usize) -> Result<bool> {
        while self.buffer.len() < wanted {
            let next = tokio::time::timeout(SILENCE, self.source.next()).await;
            match next.map_err(|_| broken("it fell silent"))? {
                None => return Ok(false),
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(e)) => {
                    return Err(Error::wrap(ErrorKind::Internal, "read what the Git server sends", e));
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(text: &'static [u8]) -> Packets {
        // In pieces of three bytes, as a network may cut them.
        let pieces: Vec<_> = text.chunks(3).map(|piece| Ok(Bytes::from_static(piece))).collect();
        Packets::new(Box::pin(futures_util::stream::iter(pieces)))
    }

    #[tokio::test]
    async fn there_and_back() {
        let mut out = Vec::new();
        line(&mut out, "hello");
        assert_eq!(out, b"000ahello\n");
        let mut read = packets(b"000ahello\n000100000006a\n0002");
        assert_eq!(read.text().await.unwrap().as_deref(), Some("hello"));
        assert_eq!(read.next().await.unwrap(), Some(Packet::Delimiter));
        assert_eq!(read.next().await.unwrap(), Some(Packet::Flush));
        assert_eq!(read.next().await.unwrap(), Some(Packet::Line(Bytes::from_static(b"a\n"))));
        assert_eq!(read.next().await.unwrap(), Some(Packet::End));
        assert_eq!(read.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_broken() {
        for bad in [&b"00"[..], b"xyzw", b"0003", b"ffff", b"0009abc"] {
            let mut read = packets(bad);
            assert!(read.next().await.is_err(), "{bad:?}");
        }
        let error = packets(b"000fERR gone\n..").text().await.unwrap_err();
        assert!(error.full().contains("says: gone"), "{}", error.full());
    }
}
