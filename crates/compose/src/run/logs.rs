//! What containers write, line by line.

use super::report::Stream;
use super::{Run, container};
use crate::error::Error;
use crate::plan::Observed;
use tokio::io::AsyncReadExt;
use wharf_docker_api::client::{Call, Demux, Hijacked, Kind, Query};

/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;
/// Bytes of a line that is cut there.
const MAX_LINE: usize = 1024 * 1024;

/// Flags of `logs`.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--follow`.
    pub follow: bool,
    /// `--tail`.
    pub tail: String,
    /// `--since`, in seconds since 1970.
    pub since: Option<String>,
    /// `--until`.
    pub until: Option<String>,
    /// `--timestamps`.
    pub timestamps: bool,
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    demux: Option<Demux>,
    pending: [Vec<u8>; 2],
}

impl Lines {
    fn new(multiplexed: bool) -> Self {
        Self { demux: multiplexed.then(Demux::default), ..Self::default() }
    }

    fn feed(&mut self, bytes: &[u8], say: &mut dyn FnMut(&str, Stream)) -> Result<(), Error> {
        let Some(demux) = &mut self.demux else {
            push(&mut self.pending[0], bytes, Stream::Stdout, say);
            return Ok(());
        };
        demux.feed(bytes);
        while let Some(frame) = demux.next_frame()? {
            let (at, stream) = match frame.kind {
                Kind::Stdout => (0, Stream::Stdout),
                Kind::Stderr | Kind::SystemError => (1, Stream::Stderr),
            };
            push(&mut self.pending[at], &frame.data, stream, say);
        }
        Ok(())
    }

    fn end(&mut self, say: &mut dyn FnMut(&str, Stream)) {
        for (pending, stream) in self.pending.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            if !pending.is_empty() {
                say(&String::from_utf8_lossy(pending), stream);
            }
        }
    }
}

fn push(pending: &mut Vec<u8>, bytes: &[u8], stream: Stream, say: &mut dyn FnMut(&str, Stream)) {
    for &byte in bytes {
        if byte == b'\n' || pending.len() >= MAX_LINE {
            say(String::from_utf8_lossy(pending).trim_end_matches('\r'), stream);
            pending.clear();
        }
        if byte != b'\n' {
            pending.push(byte);
        }
    }
}

impl Run<'_> {
    /// Tells the lines of one container's log.
    pub async fn logs(&self, one: &Observed, options: &Options) -> Result<(), Error> {
        let query = Query::new()
            .with("stdout", 1)
            .with("stderr", 1)
            .flag("follow", options.follow)
            .flag("timestamps", options.timestamps)
            .with("tail", &options.tail)
            .maybe("since", options.since.as_ref())
            .maybe("until", options.until.as_ref());
        let mut stream = self.client.stream(Call::get(container(&one.id, "/logs")).query(query)).await?;
        let mut lines = Lines::new(stream.multiplexed().unwrap_or(true));
        let source = one.short_name();
        let mut say = |line: &str, stream| self.report.line(&source, line, stream);
        while let Some(chunk) = stream.chunk().await? {
            lines.feed(&chunk, &mut say)?;
        }
        lines.end(&mut say);
        Ok(())
    }

    /// Joins a container's output from now on; returns when that ends.
    pub async fn follow(&self, one: &Observed) -> Result<(), Error> {
        let query = Query::new().with("stream", 1).with("stdout", 1).with("stderr", 1);
        let connection = self.client.hijack(Call::post(container(&one.id, "/attach")).query(query)).await?;
        self.show(one, connection, false).await
    }

    /// Tells what comes over a connection to a container until it ends.
    pub async fn show(
        &self,
        one: &Observed,
        mut connection: Hijacked,
        timestamps: bool,
    ) -> Result<(), Error> {
        let mut lines = Lines::new(connection.multiplexed);
        let source = one.short_name();
        let mut say = |line: &str, stream| match timestamps {
            true => self.report.line(&source, &format!("{} {line}", super::wait::now()), stream),
            false => self.report.line(&source, line, stream),
        };
        let mut buffer = vec![0; CHUNK];
        loop {
            match connection.reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(len) => lines.feed(&buffer[..len], &mut say)?,
            }
        }
        lines.end(&mut say);
        Ok(())
    }
}
