//! The first line of a connection, with quotes in it: `GET /containers/json?filters={"status":["exited"]}`, as people write
//! it for curl. Docker takes that; hyper refuses it before a handler sees anything. So it is looked at before, and given to hyper
//! as a client would have to write it. Nothing is taken from a connection whose line is as it should be.

use rustix::net::RecvFlags;
use std::io;
use std::os::fd::AsFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

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
    pub(crate) async fn in_front_of<S>(self, mut stream: S) -> io::Result<impl AsyncRead + AsyncWrite + Unpin>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.read_exact(&mut vec![0; self.came]).await?;
        let (read, write) = tokio::io::split(stream);
        Ok(tokio::io::join(io::Cursor::new(self.line).chain(read), write))
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
        mended
            .in_front_of(tokio::io::join(text, tokio::io::sink()))
            .await
            .unwrap()
            .read_to_end(&mut all)
            .await
            .unwrap();
        assert_eq!(all, b"GET /%3C\r\nHost: \"x\"\r\n\r\n");
    }
}
