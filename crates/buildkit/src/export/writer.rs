//! Bytes to the client, from a thread that blocks.

use bytes::Bytes;
use std::io::{self, Write};
use wharf_grpc::client::Requests;
use wharf_grpc::proto::session::BytesMessage;

/// Bytes of one message.
const PIECE: usize = 256 << 10;

/// Collects bytes into messages.
pub(super) struct ToClient {
    requests: Requests,
    piece: Vec<u8>,
}

impl ToClient {
    pub(super) fn new(requests: Requests) -> Self {
        Self { requests, piece: Vec::with_capacity(PIECE) }
    }
}

impl Write for ToClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        match self.requests.blocking_send(&BytesMessage { data: Bytes::from(piece) }) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
