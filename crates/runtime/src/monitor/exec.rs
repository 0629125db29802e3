//! Further processes on their way: from the request to the execution of the program, without waiting for any of it.

use super::client::Line;
use super::requests::{Ours, failed, pipes, reply_line};
use super::session::Session;
use super::{Monitor, Phase};
use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::protocol::{Event, Exec, Reply, Streams};
use crate::tenant::{self, Heard};
use rustix::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use wharf_sys::signals;

/// How long a process may take from its clone to its program. What it does in between are a few system calls on the
/// container's files; a container that makes those hang loses the exec, nothing else.
const START_LIMIT: Duration = Duration::from_secs(10);

/// An exec whose program does not run yet.
pub(super) struct Starting {
    /// Who asked.
    line: Line,
    id: String,
    streams: Streams,
    tenant: tenant::Starting,
    /// Our ends of its pipes.
    ours: Option<Ours>,
    /// It ended already.
    code: Option<i32>,
    deadline: Instant,
    /// Settled, one way or the other: removed at the end of the turn.
    done: bool,
}

impl Starting {
    pub(super) fn sync(&self) -> BorrowedFd<'_> {
        self.tenant.sync.as_fd()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    fn refuse(&mut self, error: &Error) {
        self.line.queue(&reply_line(&failed(error)));
        // A client that went away needs no answer.
        let _ = self.line.flush();
        self.done = true;
    }
}

impl Monitor<'_> {
    pub(super) fn exec(&mut self, index: usize, exec: Exec) {
        let begun = match self.phase {
            Phase::Running => self.begin(&exec),
            _ => Err(Error::setup("the container is not running")),
        };
        match begun {
            Ok((tenant, ours)) => {
                let line = self.lines[index].take();
                let deadline = Instant::now() + START_LIMIT;
                let Exec { id, streams, .. } = exec;
                let starting =
                    Starting { line, id, streams, tenant, ours, code: None, deadline, done: false };
                self.starting.push(starting);
            }
            Err(e) => self.reply(index, &failed(&e)),
        }
    }

    fn begin(&self, exec: &Exec) -> Result<(tenant::Starting, Option<Ours>)> {
        let (stdio, ours) = if exec.process.terminal {
            (None, None)
        } else {
            pipes(exec.streams.stdin).map(|(a, b)| (Some(a), Some(b)))?
        };
        let plan = tenant::Plan {
            process: &exec.process,
            container: self.child.pidfd.as_fd(),
            cgroup: Some(&self.cgroup),
            stdio,
            seccomp: exec.seccomp_file.as_deref().map(bundle::load_filter).transpose()?,
            preserve_fds: 0,
        };
        Ok((tenant::begin(self.proof, plan)?, ours))
    }

    /// A process on its way said something, or executed its program.
    pub(super) fn hear_exec(&mut self, index: usize) {
        let Some(starting) = self.starting.get_mut(index).filter(|s| !s.done) else { return };
        match starting.tenant.hear() {
            Ok(Heard::Nothing) => {
                if starting.code.is_none()
                    && let Some(at) =
                        self.unclaimed.iter().position(|(pid, _)| Some(*pid) == starting.tenant.pid)
                {
                    starting.code = Some(self.unclaimed.swap_remove(at).1);
                }
            }
            Ok(Heard::Executed { pid }) => self.started(index, pid),
            Err(e) => starting.refuse(&e),
        }
    }

    fn started(&mut self, index: usize, pid: i32) {
        let starting = &mut self.starting[index];
        starting.done = true;
        let id = Some(starting.id.clone());
        let session = match (starting.tenant.terminal.take(), starting.ours.take()) {
            (Some(master), _) => Session::with_terminal(id, pid, master).doing("take the terminal"),
            (None, Some(ours)) => Ok(Session::with_pipes(id, pid, ours.stdin, ours.outputs, true)),
            (None, None) => Err(Error::setup("the exec made no terminal")),
        };
        let mut session = match session {
            Ok(session) => session,
            Err(e) => return starting.refuse(&e),
        };
        let mut line = starting.line.take();
        line.queue(&reply_line(&Reply::Started { pid }));
        // A failure marks the line ended.
        let _ = line.flush();
        if starting.streams != Streams::default()
            && let Some((client, input)) = line.take_client(starting.streams, session.is_framed())
        {
            session.add_client(client, &input);
        }
        let code = starting.code;
        self.sessions.push(session);
        if let Some(code) = code {
            self.ended(pid, code);
        }
    }

    /// A child that belongs to no session ended: an exec before its program was seen to run.
    pub(super) fn ended_early(&mut self, pid: i32, code: i32) {
        let expecting = !self.starting.is_empty();
        match self.starting.iter_mut().find(|s| s.tenant.pid == Some(pid)) {
            Some(starting) => starting.code = Some(code),
            // It may be one whose number was not heard yet.
            None if expecting => self.unclaimed.push((pid, code)),
            None => {}
        }
    }

    /// Gives up on those that take too long, and on all when the container has ended.
    pub(super) fn tidy_execs(&mut self) {
        let now = Instant::now();
        let ended = matches!(self.phase, Phase::Draining(_));
        for starting in self.starting.iter_mut().filter(|s| !s.done && (ended || s.deadline <= now)) {
            starting.tenant.kill();
            starting.refuse(&Error::setup(if ended {
                "the container is not running".to_owned()
            } else {
                format!("the process did not come to run within {} s", START_LIMIT.as_secs())
            }));
        }
        self.starting.retain(|s| !s.done);
        if self.starting.is_empty() {
            self.unclaimed.clear();
        }
    }

    /// Tells who waits for a session's end.
    pub(super) fn ended(&mut self, pid: i32, code: i32) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.pid == pid && s.code.is_none()) else {
            return self.ended_early(pid, code);
        };
        session.end(code);
        if let Some(id) = session.id.clone() {
            self.announce(&Event::ExecExited { id, code });
        }
    }

    /// Sends a signal to an exec's process, whose id cannot be another's before it is reaped here.
    pub(super) fn signal_exec(&self, exec: &str, signal: i32) -> Reply {
        let running = self.sessions.iter().find(|s| s.id.as_deref() == Some(exec) && s.code.is_none());
        let Some(session) = running else { return Reply::Gone };
        match signals::send(session.pid, signal).doing("send the signal") {
            Ok(()) => Reply::Ok,
            Err(e) => failed(&e),
        }
    }

    /// Sends a signal to the container's first process.
    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        if matches!(self.phase, Phase::Draining(_)) {
            return Ok(());
        }
        if signal == 9 && self.cgroup.is_frozen().unwrap_or(false) {
            // A frozen process does not even die (cgroup version 1).
            self.cgroup.freeze(false).doing("let the container go on")?;
        }
        signals::send_pidfd(self.child.pidfd.as_fd(), signal).doing("send the signal")
    }
}
