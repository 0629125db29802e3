//! What containers write, to our standard output and error.

use crate::failure::Failure;
use std::io::{self, Write};
use wharf_docker_api::client::{Demux, Kind, ResponseStream};

/// Where output goes. A terminal of the container has one stream, otherwise there are two.
#[derive(Debug)]
pub(crate) struct Output {
    demux: Option<Demux>,
    stdout: bool,
    stderr: bool,
}

impl Output {
    /// With or without multiplexing; a stream that is not wanted is thrown away.
    pub(crate) fn new(multiplexed: bool, stdout: bool, stderr: bool) -> Self {
        Self { demux: multiplexed.then(Demux::default), stdout, stderr }
    }

    /// Writes received bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(demux) = &mut self.demux else {
            return if self.stdout { put(&mut io::stdout().lock(), bytes) } else { Ok(()) };
        };
        demux.feed(bytes);
        while let Some(frame) = demux.next_frame()? {
            match frame.kind {
                Kind::Stdout if self.stdout => put(&mut io::stdout().lock(), &frame.data)?,
                Kind::Stderr if self.stderr => put(&mut io::stderr().lock(), &frame.data)?,
                Kind::SystemError => {
                    let text = String::from_utf8_lossy(&frame.data).into_owned();
                    return Err(Failure::new(format!("error from daemon in stream: {text}")));
                }
                Kind::Stdout | Kind::Stderr => {}
            }
        }
        Ok(())
    }

    /// Writes a whole answer.
    pub(crate) async fn copy(&mut self, mut stream: ResponseStream) -> Result<(), Failure> {
        while let Some(chunk) = stream.chunk().await? {
            self.write(&chunk)?;
        }
        Ok(())
    }
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::with_status(0, "")),
        result => result.map_err(|e| Failure::new(format!("write the container's output: {e}"))),
    }
}
