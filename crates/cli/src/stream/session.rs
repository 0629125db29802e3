//! A conversation with a container: our standard streams joined to its own.

use super::output::Output;
use super::stdin;
use super::terminal::{RawMode, stdin_is_terminal};
use crate::failure::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use wharf_docker_api::client::Hijacked;
use wharf_docker_api::detach::Watch;

/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;

/// What is joined.
#[derive(Debug)]
pub(crate) struct Session {
    /// The container has a terminal.
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// Keys that leave; only with a terminal.
    pub(crate) detach_keys: String,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The container closed its side.
    Closed,
    /// The user left with the detach keys.
    Detached,
}

impl Session {
    /// Converses until the container closes its side or the user leaves.
    pub(crate) async fn run(&self, connection: Hijacked) -> Result<End, Failure> {
        let Hijacked { multiplexed, reader, writer } = connection;
        let output = Output::new(multiplexed || !self.tty, self.stdout, self.stderr);
        let raw = match self.stdin && self.tty && stdin_is_terminal() {
            true => Some(RawMode::enter()?),
            false => None,
        };
        let ended = self.converse(reader, writer, output).await;
        drop(raw);
        ended
    }

    async fn converse<T>(
        &self,
        reader: ReadHalf<T>,
        writer: WriteHalf<T>,
        output: Output,
    ) -> Result<End, Failure>
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let keys = if self.tty { self.detach_keys.as_str() } else { "" };
        let watch = Watch::parse(keys).map_err(Failure::new)?;
        let receive = receive(reader, output);
        tokio::pin!(receive);
        if !self.stdin {
            // The other direction stays open: to close it would end the container's input.
            let ended = receive.await.map(|()| End::Closed);
            drop(writer);
            return ended;
        }
        tokio::select! {
            biased;
            ended = &mut receive => return ended.map(|()| End::Closed),
            sent = send(writer, watch) => if sent == End::Detached {
                return Ok(End::Detached);
            }
        }
        receive.await.map(|()| End::Closed)
    }
}

async fn receive(mut reader: impl tokio::io::AsyncRead + Unpin, mut output: Output) -> Result<(), Failure> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(len) => output.write(&buffer[..len])?,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(Failure::new(format!("read the container's output: {error}"))),
        }
    }
}

/// Sends standard input until its end. A container that reads no more is no failure: it tells by its end.
async fn send(mut writer: impl tokio::io::AsyncWrite + Unpin, mut watch: Watch) -> End {
    let mut input = stdin::read();
    while let Some(bytes) = input.recv().await {
        let typed = watch.feed(&bytes);
        if writer.write_all(&typed.bytes).await.is_err() || writer.flush().await.is_err() {
            return End::Closed;
        }
        if typed.detached {
            return End::Detached;
        }
    }
    // Half-close: the container sees the end of its input and can still answer.
    let _ = writer.shutdown().await;
    End::Closed
}
