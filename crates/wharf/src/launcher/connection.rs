//! Talking to a monitor: one line each way, then events or streams.

use super::{read_exit, translate};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use wharf_model::launcher::MonitorEvent;
use wharf_runtime::protocol::{Event, Reply, Request, SOCKET_FILE};

/// A reply or event line is short: the longest is the message of a failure.
const LINE_LIMIT: usize = 64 * 1024;

/// Connects through the directory's descriptor: the path may be longer than a socket address.
pub(super) async fn connect(directory: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let at = rustix::fs::open(directory, flags, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET_FILE}", at.as_raw_fd())).await
}

pub(super) async fn say(stream: &mut UnixStream, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// Sends a request and reads the reply, and not a byte more: what follows are streams.
pub(super) async fn ask(mut stream: UnixStream, request: &Request) -> io::Result<(Reply, UnixStream)> {
    say(&mut stream, request).await?;
    let mut line = Vec::with_capacity(128);
    loop {
        let byte = stream.read_u8().await?;
        if byte == b'\n' {
            return Ok((serde_json::from_slice(&line)?, stream));
        }
        line.push(byte);
        if line.len() > LINE_LIMIT {
            return Err(io::Error::other("the monitor's reply is too long"));
        }
    }
}

/// Passes events on until the monitor ends, and `Go` to it.
pub(super) async fn follow(
    stream: UnixStream,
    directory: PathBuf,
    events: mpsc::UnboundedSender<MonitorEvent>,
    mut go: mpsc::UnboundedReceiver<()>,
    pid: &watch::Sender<i32>,
) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader.take(u64::MAX)).lines();
    let mut ended = false;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            () = events.closed() => return,
            going = go.recv(), if !ended => {
                if going.is_some() {
                    // A monitor that is gone is seen by the end of its lines.
                    let _ = writer.write_all(b"{\"op\":\"go\"}\n").await;
                }
                ended = true;
                continue;
            }
        };
        let Ok(Some(line)) = line else { break };
        let event = match serde_json::from_str::<Event>(&line) {
            Ok(event) => translate::event(event),
            Err(e) => MonitorEvent::Warning(format!("the monitor said {line:?}: {e}")),
        };
        if let MonitorEvent::Running { pid: first } = event {
            pid.send_replace(first);
        }
        let last = matches!(event, MonitorEvent::Exited(_) | MonitorEvent::Failed { .. });
        if events.send(event).is_err() {
            return;
        }
        if last {
            // Nothing more is said; the end is when it has let go of everything.
            while let Ok(Some(line)) = lines.next_line().await {
                tracing::warn!("a monitor said at its end: {line}");
            }
            return;
        }
    }
    let exit = read_exit(&directory);
    // Nobody may be left to hear it.
    let _ = events.send(MonitorEvent::Lost(exit.as_ref().map(translate::exit)));
}
