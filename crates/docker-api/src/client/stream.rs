//! Answers that come bit by bit: raw bytes, multiplexed output, JSON values one after another.

use super::Error;
use super::connection::Sender;
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// The body of an answer as it comes.
#[derive(Debug)]
pub struct ResponseStream {
    headers: HeaderMap,
    body: Incoming,
    /// The connection lives as long as its answer is read.
    _sender: Sender,
}

impl ResponseStream {
    pub(super) fn new(response: Response<Incoming>, sender: Sender) -> Self {
        let (parts, body) = response.into_parts();
        Self { headers: parts.headers, body, _sender: sender }
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether the body is multiplexed (see [`Demux`]), as the engine says; `None` when it does not say.
    pub fn multiplexed(&self) -> Option<bool> {
        match self.headers.get(CONTENT_TYPE)?.as_bytes() {
            b"application/vnd.docker.multiplexed-stream" => Some(true),
            b"application/vnd.docker.raw-stream" => Some(false),
            _ => None,
        }
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| Error::Protocol(format!("read the engine's answer: {e}")))?;
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads the body as JSON values one after another.
    pub fn json<T: DeserializeOwned>(self) -> JsonStream<T> {
        JsonStream { stream: self, buffer: BytesMut::new(), kind: PhantomData }
    }
}

/// JSON values one after another.
#[derive(Debug)]
pub struct JsonStream<T> {
    stream: ResponseStream,
    buffer: BytesMut,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> JsonStream<T> {
    /// The next value; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
            match values.next() {
                Some(Ok(value)) => {
                    let used = values.byte_offset();
                    self.buffer.advance(used);
                    return Ok(Some(value));
                }
                Some(Err(error)) if !error.is_eof() => {
                    return Err(Error::Protocol(format!("read a message of the engine: {error}")));
                }
                Some(Err(_)) | None => match self.stream.chunk().await? {
                    Some(chunk) => self.buffer.extend_from_slice(&chunk),
                    None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                    None => return Err(Error::Closed),
                },
            }
        }
    }
}

/// Which stream of a container a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Standard output, and the echo of standard input.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the engine while it streamed.
    SystemError,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it belongs.
    pub kind: Kind,
    /// What was written; a frame of the engine may come in several of these.
    pub data: Bytes,
}

/// Takes multiplexed output apart: frames with a header of eight bytes, the first of which names the
/// stream and the last four the length in network order.
#[derive(Debug, Default)]
pub struct Demux {
    buffer: BytesMut,
    /// Stream and bytes that are left of the frame that has begun.
    current: Option<(Kind, usize)>,
}

impl Demux {
    /// Adds received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece of output; `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        const HEADER_LEN: usize = 8;
        loop {
            if let Some((kind, left)) = self.current {
                if left == 0 {
                    self.current = None;
                    continue;
                }
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let data = self.buffer.split_to(left.min(self.buffer.len())).freeze();
                self.current = Some((kind, left - data.len()));
                return Ok(Some(Frame { kind, data }));
            }
            if self.buffer.len() < HEADER_LEN {
                return Ok(None);
            }
            let header = self.buffer.split_to(HEADER_LEN);
            let kind = match header[0] {
                0 | 1 => Kind::Stdout,
                2 => Kind::Stderr,
                3 => Kind::SystemError,
                other => return Err(Error::Protocol(format!("unrecognized stream {other} in the output"))),
            };
            let len = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            self.current = Some((kind, len as usize));
        }
    }

    /// Whether the bytes so far end with a whole frame.
    pub fn is_complete(&self) -> bool {
        self.buffer.is_empty() && self.current.is_none_or(|(_, left)| left == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        for (kind, text) in [(1u8, "out"), (2, "err"), (1, ""), (1, "more")] {
            bytes.extend([kind, 0, 0, 0, 0, 0, 0, text.len() as u8]);
            bytes.extend(text.as_bytes());
        }
        for size in 1..bytes.len() {
            let mut demux = Demux::default();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(size) {
                demux.feed(chunk);
                while let Some(frame) = demux.next_frame().unwrap() {
                    match frame.kind {
                        Kind::Stdout => out.extend_from_slice(&frame.data),
                        _ => err.extend_from_slice(&frame.data),
                    }
                }
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"outmore"[..], &b"err"[..]));
            assert!(demux.is_complete());
        }
        let mut demux = Demux::default();
        demux.feed(&[9, 0, 0, 0, 0, 0, 0, 0]);
        assert!(demux.next_frame().is_err());
    }
}
