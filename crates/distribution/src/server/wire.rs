//! Files to sockets without a copy: `sendfile(2)` below an HTTP library that only writes bytes.
//!
//! A body that is a file yields, instead of its bytes, as many of a placeholder that is never looked at, and notes
//! which part of the file they stand for. The socket knows the placeholder by its address, and sends the next part
//! noted in its place. Parts and placeholders pass in the same order; both are counted in bytes.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a part at most: large enough that what is done once a part costs nothing beside it.
pub(super) const MAX_PART: usize = 4 << 20;
/// Parts noted and not sent: the library asks for the next when the last is on its way. Many mean that it copies.
const MAX_PENDING: usize = 8;
/// Zeroes that no page of memory is ever taken for, as nobody looks at them, and that are no part of the binary.
static PLACEHOLDER: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; MAX_PART]);

fn stands_for_a_file(bytes: &[u8]) -> bool {
    PLACEHOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

struct Part {
    file: Arc<File>,
    offset: u64,
    length: usize,
}

/// The parts of files that a connection has still to send.
#[derive(Clone, Default)]
pub(super) struct Parts(Arc<Mutex<VecDeque<Part>>>);

impl Parts {
    /// What to give to the HTTP library in place of a part of a file.
    pub(super) fn note(&self, file: &Arc<File>, offset: u64, length: usize) -> Result<Bytes> {
        let length = length.min(MAX_PART);
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.len() >= MAX_PENDING {
            return Err(Error::other("placeholders were written that no part of a file was sent for"));
        }
        parts.push_back(Part { file: Arc::clone(file), offset, length });
        Ok(Bytes::from_static(&PLACEHOLDER[..length]))
    }
}

/// A plain connection that sends files.
pub(super) struct Wire {
    stream: TcpStream,
    parts: Parts,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> (Self, Parts) {
        let parts = Parts::default();
        (Self { stream, parts: parts.clone() }, parts)
    }

    /// Sends up to `length` bytes of the part that is next.
    fn poll_send(&self, cx: &mut Context<'_>, length: usize) -> Poll<Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let mut parts = self.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(part) = parts.front_mut() else {
                return Poll::Ready(Err(Error::new(ErrorKind::InvalidInput, "no part of a file was noted")));
            };
            let wanted = length.min(part.length);
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(&self.stream, &part.file, Some(&mut part.offset), wanted)?)
            });
            match sent {
                Ok(0) => {
                    return Poll::Ready(Err(Error::new(ErrorKind::UnexpectedEof, "the file became shorter")));
                }
                Ok(count) => {
                    part.length -= count;
                    if part.length == 0 {
                        parts.pop_front();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        if !buf.is_empty() && stands_for_a_file(buf) {
            return self.poll_send(cx, buf.len());
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let start = bufs.iter().position(|b| !b.is_empty()).unwrap_or(bufs.len());
        let bufs = &bufs[start..];
        match bufs.iter().position(|b| !b.is_empty() && stands_for_a_file(b)) {
            Some(0) => self.poll_send(cx, bufs[0].len()),
            end => Pin::new(&mut self.stream).poll_write_vectored(cx, &bufs[..end.unwrap_or(bufs.len())]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Else the library would copy the placeholder into a buffer of its own.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
