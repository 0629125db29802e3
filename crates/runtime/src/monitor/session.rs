//! One process's streams: its pipes or terminal on one side, its log and clients on the other.

use super::client::{Client, HIGH_WATER, Outbox, TOTAL_HIGH_WATER};
use super::log::Log;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// Input waiting for a process that does not read; more is left in the client's socket.
const INPUT_LIMIT: usize = 64 * 1024;

/// Bytes of output read after a process's end: as much as a pipe may hold (`fs.pipe-max-size`). Whoever else has the
/// pipe open could go on for ever.
const LAST_OUTPUT: usize = 1 << 20;

/// One direction of output.
pub(crate) struct Output {
    /// 1 for stdout and terminals, 2 for stderr.
    pub(crate) stream: u8,
    pub(crate) fd: OwnedFd,
}

/// The streams of the container's first process or of an exec.
pub(crate) struct Session {
    /// The exec's id; `None` for the container itself.
    pub(crate) id: Option<String>,
    pub(crate) pid: i32,
    /// The master side of the terminal.
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) outputs: Vec<Output>,
    stdin: Option<OwnedFd>,
    input: Outbox,
    /// Close stdin when `input` is written.
    closing: bool,
    /// stdin ends with a client's end of input.
    ends_with_client: bool,
    pub(crate) clients: Vec<Client>,
    pub(crate) log: Option<Log>,
    pub(crate) code: Option<i32>,
}

impl Session {
    /// A session with pipes.
    pub(crate) fn with_pipes(
        id: Option<String>,
        pid: i32,
        stdin: Option<OwnedFd>,
        outputs: Vec<Output>,
        ends_with_client: bool,
    ) -> Self {
        Self {
            id,
            pid,
            terminal: None,
            outputs,
            stdin,
            input: Outbox::default(),
            closing: false,
            ends_with_client,
            clients: Vec::new(),
            log: None,
            code: None,
        }
    }

    /// A session with a terminal.
    pub(crate) fn with_terminal(id: Option<String>, pid: i32, master: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let output = Output { stream: 1, fd: master.try_clone()? };
        let stdin = Some(master.try_clone()?);
        let mut session = Self::with_pipes(id, pid, stdin, vec![output], false);
        session.terminal = Some(master);
        Ok(session)
    }

    pub(crate) fn is_framed(&self) -> bool {
        self.terminal.is_none()
    }

    /// Some client is far behind: the process waits for it, as it would in a pipe.
    pub(crate) fn is_congested(&self) -> bool {
        let waiting = self.clients.iter().map(|c| c.output.len());
        self.code.is_none()
            && (waiting.clone().any(|n| n > HIGH_WATER) || waiting.sum::<usize>() > TOTAL_HIGH_WATER)
    }

    pub(crate) fn stdin_waiting(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().filter(|_| self.input.len() > 0).map(AsFd::as_fd)
    }

    pub(crate) fn takes_input(&self) -> bool {
        self.input.len() < INPUT_LIMIT
    }

    /// Reads one piece of an output and passes it on. Returns how much it was; `None` when nothing is there now.
    pub(crate) fn read_output(&mut self, index: usize) -> Option<usize> {
        let mut buffer = [0u8; 32 * 1024];
        // The process may have ended in this very turn of the loop, and all its output been read then.
        let output = self.outputs.get(index).filter(|o| o.stream != 0)?;
        let stream = output.stream;
        match rustix::io::read(&output.fd, &mut buffer) {
            Ok(n) if n > 0 => {
                if let Some(log) = &mut self.log {
                    log.write(stream, &buffer[..n]);
                }
                for client in &mut self.clients {
                    client.give(stream, &buffer[..n]);
                }
                Some(n)
            }
            Err(Errno::INTR) => Some(0),
            Err(Errno::AGAIN) => None,
            // The end; a terminal says EIO when its last user is gone.
            _ => {
                self.outputs[index].stream = 0;
                None
            }
        }
    }

    pub(crate) fn write_stdin(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        if self.input.flush(stdin.as_fd()).is_err() {
            // The process closed its stdin: nobody will read the rest.
            self.input = Outbox::default();
            self.stdin = None;
        }
        if self.closing && self.input.len() == 0 {
            self.stdin = None;
        }
    }

    /// Takes input from a client.
    pub(crate) fn give_input(&mut self, bytes: &[u8]) {
        if self.stdin.is_some() {
            self.input.queue(bytes);
            self.write_stdin();
        }
    }

    fn end_input(&mut self) {
        if self.ends_with_client {
            self.closing = true;
            self.write_stdin();
        }
    }

    pub(crate) fn serve_client(&mut self, index: usize, events: PollFlags) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if events.contains(PollFlags::OUT) {
            client.flush();
        }
        if events.contains(PollFlags::IN) {
            match client.read() {
                Some(bytes) if bytes.is_empty() => self.end_input(),
                Some(bytes) => self.give_input(&bytes),
                None => {}
            }
        } else if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            client.ended = true;
        }
    }

    pub(crate) fn add_client(&mut self, client: Client, first_input: &[u8]) {
        if !first_input.is_empty() {
            self.give_input(first_input);
        }
        self.clients.push(client);
    }

    /// The process ended: what is left in its pipes is read, then they are closed.
    pub(crate) fn end(&mut self, code: i32) {
        self.code = Some(code);
        for index in 0..self.outputs.len() {
            let mut left = LAST_OUTPUT;
            while let Some(read) = self.read_output(index).filter(|_| left > 0) {
                left = left.saturating_sub(read);
            }
        }
        self.outputs.clear();
        self.stdin = None;
        if let Some(log) = &mut self.log {
            log.finish();
        }
    }

    /// Ends the connections of clients that have all the output of an ended process.
    pub(crate) fn let_go(&mut self) {
        if self.code.is_some() {
            self.clients.retain(|c| !c.ended && c.output.len() > 0);
        }
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.iter().all(|c| c.output.len() == 0 || c.ended)
    }

    pub(crate) fn tidy(&mut self) {
        self.outputs.retain(|o| o.stream != 0);
        self.clients.retain(|c| !c.ended);
    }
}
