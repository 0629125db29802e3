//! The first line of a connection, with quotes in it: `GET /containers/json?filters={"status":["exited"]}`, as people write
//! it for curl. Docker takes that; hyper refuses it before a handler sees anything. So it is looked at before, and given to hyper
//! as a client would have to write it. Nothing is taken from a connection whose line is as it should be.

use rustix::net::RecvFlags;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How much of what a client says first is looked at: filters are shorter, and a longer line goes on as it is.
const LOOK_BYTES: usize = 8 << 10;

/// A line that has to be written in another way.
pub(crate) struct Mended {
    /// Its length as it came.
    came: usize,
    line: Vec<u8>,
}

/// What a stream's first bytes have to become; they stay in it. To be called again when there is nothing yet
/// (`WouldBlock`).
pub(crate) fn look(stream: &impl AsFd) -> io::Result<Option<Mended>> {
    let mut bytes = vec![0; LOOK_BYTES];
    let (seen, _) = rustix::net::recv(stream, &mut bytes[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    let line = bytes[..seen].split(|byte| *byte == b'\n').next().filter(|line| line.len() < seen);
    Ok(line.and_then(mend))
}

fn mend(line: &[u8]) -> Option<Mended> {
    let odd = |byte: &u8| matches!(byte, b'"' | b'<' | b'>');
    if !line.iter().any(odd) {
        return None;
    }
    let mut mended = Vec::with_capacity(line.len() * 2);
    for byte in line {
        if odd(byte) {
            mended.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            mended.push(*byte);
        }
    }
    Some(Mended { came: line.len(), line: mended })
}

impl Mended {
    /// The stream with the line as it should be.
    pub(crate) async fn in_front_of<S: AsyncRead + Unpin>(self, mut stream: S) -> io::Result<Replayed<S>> {
        stream.read_exact(&mut vec![0; self.came]).await?;
        Ok(Replayed { first: io::Cursor::new(self.line), stream })
    }
}

/// Some bytes, and then a stream.
pub(crate) struct Replayed<S> {
    first: io::Cursor<Vec<u8>>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let at = usize::try_from(self.first.position()).unwrap_or(usize::MAX);
        match self.first.get_ref().get(at..).filter(|rest| !rest.is_empty()) {
            Some(rest) => {
                let now = rest.len().min(buf.remaining());
                buf.put_slice(&rest[..now]);
                self.first.set_position((at + now) as u64);
                Poll::Ready(Ok(()))
            }
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_written_as_an_address_has_them() {
        let mended = mend(br#"GET /x?filters={"name":["a"]} HTTP/1.1"#).unwrap();
        assert_eq!(mended.line, b"GET /x?filters={%22name%22:[%22a%22]} HTTP/1.1");
        assert!(mend(b"GET /x?filters=%7B%7D HTTP/1.1").is_none());
    }

    #[tokio::test]
    async fn what_follows_comes_after_it() {
        let text: &[u8] = b"GET /<\r\nHost: \"x\"\r\n\r\n";
        let mended = mend(&text[..6]).unwrap();
        let mut all = Vec::new();
        mended.in_front_of(text).await.unwrap().read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"GET /%3C\r\nHost: \"x\"\r\n\r\n");
    }
}
