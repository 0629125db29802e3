//! Bytes made by a thread, sent as the body of a call.

use bytes::Bytes;
use std::io::{self, Read, Write};
use tokio::sync::mpsc::Sender;
use wharf_docker_api::client::Body;

/// Bytes sent at a time.
const CHUNK: usize = 64 * 1024;

/// The writing end of a body; used on a thread that may block.
#[derive(Debug)]
pub(crate) struct BodyWriter {
    sender: Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        // The engine has answered already, or the connection broke: the answer tells which.
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A body that `write` makes on a thread. Its failure breaks the call off.
pub(crate) fn body(write: impl FnOnce(&mut BodyWriter) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, body) = Body::channel();
    std::thread::spawn(move || {
        let mut writer = BodyWriter { sender: sender.clone(), buffer: Vec::new() };
        let result = write(&mut writer).and_then(|()| writer.flush());
        if let Err(error) = result {
            // Without a receiver the call has ended, and says why.
            let _ = sender.blocking_send(Err(error));
        }
    });
    body
}

/// A body that is read from a file or a pipe.
pub(crate) fn from_reader(mut reader: impl Read + Send + 'static) -> Body {
    body(move |writer| io::copy(&mut reader, writer).map(|_| ()))
}
