//! Connections to a monitor: first lines of JSON, later perhaps a process's streams.

use crate::protocol::{LINE_LIMIT, Streams};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io;

/// Above this many bytes unread by a client, its process's output is not read either: 1 MiB is what a pipe and
/// a socket hold together a few times over.
pub(crate) const HIGH_WATER: usize = 1 << 20;

/// The same for all clients of a process together: a monitor stays small however many there are.
pub(crate) const TOTAL_HIGH_WATER: usize = 8 << 20;

/// Bytes waiting to be written to a non-blocking descriptor.
#[derive(Default)]
pub(crate) struct Outbox(Vec<u8>);

impl Outbox {
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes what the descriptor takes.
    pub(crate) fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.0.len() {
                break Ok(());
            }
            match rustix::io::write(fd, &self.0[written..]) {
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break Ok(()),
                Err(e) => break Err(e.into()),
            }
        };
        self.0.drain(..written);
        if self.0.is_empty() && self.0.capacity() > 64 * 1024 {
            self.0 = Vec::new();
        }
        result
    }
}

/// A connection that speaks in lines.
pub(crate) struct Line {
    /// `None` once the connection was turned into a client.
    fd: Option<OwnedFd>,
    input: Vec<u8>,
    output: Outbox,
    /// Gets events.
    pub(crate) watching: bool,
    /// Gone, or turned into a client.
    pub(crate) ended: bool,
}

impl Line {
    pub(crate) fn new(fd: OwnedFd, watching: bool) -> Self {
        let ended = rustix::io::ioctl_fionbio(&fd, true).is_err();
        Self { fd: Some(fd), input: Vec::new(), output: Outbox::default(), watching, ended }
    }

    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Moves the connection elsewhere; what is left here is ended.
    pub(crate) fn take(&mut self) -> Self {
        let gone =
            Self { fd: None, input: Vec::new(), output: Outbox::default(), watching: false, ended: true };
        std::mem::replace(self, gone)
    }

    pub(crate) fn interest(&self) -> PollFlags {
        if self.output.len() > 0 { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
    }

    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.output.queue(bytes);
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(fd) = &self.fd else { return Ok(()) };
        let result = self.output.flush(fd.as_fd());
        self.ended |= result.is_err();
        result
    }

    /// Reads what is there. Marks the connection ended at its end, or when a line is beyond the limit.
    pub(crate) fn fill(&mut self) {
        let Some(fd) = &self.fd else { return };
        let mut buffer = [0u8; 16 * 1024];
        loop {
            match rustix::io::read(fd, &mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.ended = true;
                    return;
                }
            }
            if self.input.len() > LINE_LIMIT {
                self.ended = true;
                return;
            }
        }
    }

    /// Takes one whole line.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.input.iter().position(|b| *b == b'\n')?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    /// Turns the connection into a client of a process. What was read beyond the request is its first input.
    /// What is left here is ended.
    pub(crate) fn take_client(&mut self, streams: Streams, framed: bool) -> Option<(Client, Vec<u8>)> {
        let fd = self.fd.take()?;
        let reading = streams.stdin && !std::mem::replace(&mut self.ended, true);
        let output = std::mem::take(&mut self.output);
        Some((Client { fd, streams, framed, reading, output, ended: false }, std::mem::take(&mut self.input)))
    }
}

/// A connection that carries a process's streams.
pub(crate) struct Client {
    fd: OwnedFd,
    pub(crate) streams: Streams,
    framed: bool,
    /// Its end of input has not come.
    reading: bool,
    pub(crate) output: Outbox,
    pub(crate) ended: bool,
}

impl Client {
    /// A client whose connection carries streams from its first byte.
    pub(crate) fn new(fd: OwnedFd, streams: Streams, framed: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, streams, framed, reading: streams.stdin, output: Outbox::default(), ended: false })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn interest(&self, takes_input: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        if self.reading && takes_input {
            flags |= PollFlags::IN;
        }
        if self.output.len() > 0 {
            flags |= PollFlags::OUT;
        }
        flags
    }

    /// Gives the client output of a stream (1 or 2) if it wants it.
    pub(crate) fn give(&mut self, stream: u8, bytes: &[u8]) {
        let wanted = if stream == 2 { self.streams.stderr } else { self.streams.stdout };
        if !wanted || self.ended {
            return;
        }
        if self.framed {
            let length = (bytes.len() as u32).to_be_bytes();
            self.output.queue(&[stream, 0, 0, 0, length[0], length[1], length[2], length[3]]);
        }
        self.output.queue(bytes);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        if self.output.flush(self.fd.as_fd()).is_err() {
            self.ended = true;
        }
    }

    /// Reads input for the process; `None` when nothing is there now, an empty buffer at the end.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        if !self.reading {
            return None;
        }
        let mut buffer = vec![0u8; 32 * 1024];
        match rustix::io::read(&self.fd, &mut buffer) {
            Ok(n) => {
                buffer.truncate(n);
                self.reading = n > 0;
                Some(buffer)
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => {
                self.ended = true;
                None
            }
        }
    }
}
