//! What clients ask a monitor for.

use super::session::Output;
use super::{Monitor, Phase, event_line};
use crate::error::{Doing, Error, Result};
use crate::init::console;
use crate::protocol::{Event, Reply, Request, Streams};
use rustix::event::PollFlags;
use rustix::fd::OwnedFd;
use wharf_failpoint::failpoint;

impl Monitor<'_> {
    pub(super) fn serve_line(&mut self, index: usize, events: PollFlags) -> Result<()> {
        let line = &mut self.lines[index];
        if events.contains(PollFlags::OUT) {
            // A failure marks the line ended.
            let _ = line.flush();
        }
        if !events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        line.fill();
        while let Some(text) = self.lines[index].next() {
            match serde_json::from_slice(&text) {
                Ok(request) => self.answer(index, request)?,
                Err(e) => self.reply(index, &failed(&Error::setup(format!("not a request: {e}")))),
            }
        }
        Ok(())
    }

    fn answer(&mut self, index: usize, request: Request) -> Result<()> {
        match request {
            Request::Go => return self.go(),
            Request::Watch => {
                self.lines[index].watching = true;
                let event = match self.phase {
                    Phase::Waiting | Phase::Starting => Event::Ready,
                    Phase::Running | Phase::Draining(_) => Event::Running { pid: self.child.pid },
                };
                self.lines[index].queue(&event_line(&event));
                // A failure marks the line ended.
                let _ = self.lines[index].flush();
            }
            Request::Attach(streams) => self.attach(index, streams),
            Request::Exec(exec) => self.exec(index, *exec),
            Request::Signal { signal } => {
                failpoint!("monitor.signal");
                let sent = self.signal(signal);
                self.reply(index, &outcome(sent));
            }
            Request::SignalExec { exec, signal } => {
                let reply = self.signal_exec(&exec, signal);
                self.reply(index, &reply);
            }
            Request::Resize { exec, rows, columns } => {
                let resized = self.resize(exec.as_deref(), rows, columns);
                self.reply(index, &outcome(resized));
            }
        }
        Ok(())
    }

    pub(super) fn reply(&mut self, index: usize, reply: &Reply) {
        let line = &mut self.lines[index];
        line.queue(&reply_line(reply));
        // A failure marks the line ended.
        let _ = line.flush();
    }

    fn go(&mut self) -> Result<()> {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Starting;
            crate::launch::let_go(&self.child)?;
        }
        Ok(())
    }

    fn attach(&mut self, index: usize, streams: Streams) {
        self.reply(index, &Reply::Ok);
        let session = &mut self.sessions[0];
        if let Some((client, input)) = self.lines[index].take_client(streams, session.is_framed()) {
            session.add_client(client, &input);
        }
    }

    fn resize(&self, exec: Option<&str>, rows: u16, columns: u16) -> Result<()> {
        let session = self.sessions.iter().find(|s| s.id.as_deref() == exec);
        match session.and_then(|s| s.terminal.as_ref()) {
            Some(terminal) => console::resize(terminal, rows, columns).doing("resize the terminal"),
            // As with Docker, whose clients resize before they know.
            None => Ok(()),
        }
    }
}

fn outcome(result: Result<()>) -> Reply {
    match result {
        Ok(()) => Reply::Ok,
        Err(e) => failed(&e),
    }
}

pub(super) fn failed(error: &Error) -> Reply {
    Reply::Failed { stage: error.stage, message: error.message.clone() }
}

pub(super) fn reply_line(reply: &Reply) -> Vec<u8> {
    // Replies are plain data, which always serialise.
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Our ends of a process's pipes.
pub(super) struct Ours {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: Vec<Output>,
}

/// Pipes for a process: its three ends, and ours, which do not block.
pub(super) fn pipes(stdin: bool) -> Result<([OwnedFd; 3], Ours)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make a pipe");
    let quick = |fd: OwnedFd| rustix::io::ioctl_fionbio(&fd, true).map(|()| fd).doing("make a pipe");
    let (in_read, in_write) = if stdin {
        let (read, write) = pipe()?;
        (read, Some(quick(write)?))
    } else {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        (rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).doing("open /dev/null")?, None)
    };
    let ((out_read, out_write), (err_read, err_write)) = (pipe()?, pipe()?);
    let outputs =
        vec![Output { stream: 1, fd: quick(out_read)? }, Output { stream: 2, fd: quick(err_read)? }];
    Ok(([in_read, out_write, err_write], Ours { stdin: in_write, outputs }))
}
