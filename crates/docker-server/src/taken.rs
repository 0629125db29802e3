//! The writing half of a connection that became a stream, silent until the client has read the head of the answer.
//!
//! docker-py reads the head through a buffer and then the stream past that buffer: what came in one piece with the head is lost
//! to it. Docker's streams begin so late that this is rarely seen. Only unix sockets tell what the other side has read.

use rustix::io::Errno;
use rustix::net::SendFlags;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::Sleep;

/// A client that reads nothing for this long, while it writes its own input first for example, gets the output anyway.
const LIMIT: Duration = Duration::from_millis(100);

pub(crate) struct AfterHead {
    half: OwnedWriteHalf,
    phase: Phase,
}

enum Phase {
    /// The client has not read the head yet, with the limit of the wait.
    Waiting(Pin<Box<Sleep>>),
    /// The wait was given up. The runtime takes the socket for full, since it was told so while waiting: what is written
    /// goes to the socket itself until that is true.
    GivenUp,
    Open,
}

impl AfterHead {
    pub(crate) fn new(half: OwnedWriteHalf) -> Self {
        Self { half, phase: Phase::Waiting(Box::pin(tokio::time::sleep(LIMIT))) }
    }

    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Phase::Waiting(limit) = &mut self.phase else { return Poll::Ready(()) };
        let stream: &UnixStream = self.half.as_ref();
        // The socket becomes writable again with each piece that the other side takes.
        while let Err(e) = stream.try_io(Interest::WRITABLE, || is_taken(stream)) {
            if e.kind() != io::ErrorKind::WouldBlock {
                break;
            }
            if stream.poll_write_ready(context).is_pending() {
                ready!(limit.as_mut().poll(context));
                self.phase = Phase::GivenUp;
                return Poll::Ready(());
            }
        }
        self.phase = Phase::Open;
        Poll::Ready(())
    }
}

fn is_taken(stream: &UnixStream) -> io::Result<()> {
    match wharf_sys::socket::unread(stream)? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl AsyncWrite for AfterHead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_taken(context));
        if matches!(self.phase, Phase::GivenUp) {
            let stream: &UnixStream = self.half.as_ref();
            match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => self.phase = Phase::Open,
                done => return Poll::Ready(Ok(done?)),
            }
        }
        Pin::new(&mut self.half).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.half).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn nothing_comes_with_the_head() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_read, mut write) = ours.into_split();
        write.write_all(b"head").await.unwrap();
        let mut stream = AfterHead::new(write);
        let written = tokio::spawn(async move { stream.write_all(b"stream").await.map(|()| stream) });
        let mut bytes = [0; 64];
        assert_eq!(theirs.read(&mut bytes).await.unwrap(), 4);
        assert_eq!(theirs.read(&mut bytes).await.unwrap(), 6);
        drop(written.await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_waited_for() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_read, mut write) = ours.into_split();
        write.write_all(b"head").await.unwrap();
        let mut stream = AfterHead::new(write);
        for _ in 0..3 {
            stream.write_all(b"stream").await.unwrap();
        }
        let mut bytes = [0; 22];
        theirs.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"headstreamstreamstream");
        // More than the socket holds, to somebody who reads.
        let big = tokio::spawn(async move { stream.write_all(&[7; 1 << 20]).await });
        let mut all = vec![0; 1 << 20];
        theirs.read_exact(&mut all).await.unwrap();
        big.await.unwrap().unwrap();
    }
}
