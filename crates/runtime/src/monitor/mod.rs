//! The monitor: one small process a container, from its start to its end.
//!
//! It owns the container's terminal or pipes, keeps the log, reaps the exit status, and serves attach, exec,
//! signals and resizes on a socket in the run directory. It does not depend on the daemon.
//!
//! ```text
//!  preparing ──Ready──▶ Waiting ──Go──▶ Starting ──exec──▶ Running ──exit──▶ Draining ──▶ ended
//!      └───────────────────┴───── failure, or the daemon gone before Go ──▶ undone, ended
//! ```
//!
//! `Go` may come while the container is still prepared: it then does not wait.

mod client;
mod exec;
mod hooks;
mod log;
mod requests;
mod session;
mod start;

use crate::ahead::Ahead;
use crate::error::{Doing, Error, Result};
use crate::init::{self, Message};
use crate::launch::{Child, exit_code};
use crate::protocol::{EXIT_FILE, Event, Exit, SOCKET_FILE};
use crate::spawner;
use client::Line;
use exec::Starting;
pub(crate) use log::now_rfc3339;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::WaitOptions;
use session::Session;
pub(crate) use start::await_ready;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use wharf_failpoint::failpoint;
use wharf_sys::cgroup::Cgroup;
use wharf_sys::process::SingleThreaded;
use wharf_sys::signals;

/// How long output that clients do not read keeps an ended container's monitor alive.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait with the next connection when there is no descriptor for it; nothing tells when there is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Starting,
    Running,
    Draining(Instant),
}

/// The state of one container's monitor.
pub(crate) struct Monitor<'a> {
    proof: &'a SingleThreaded,
    directory: PathBuf,
    cgroup: Cgroup,
    child: Child,
    signals: OwnedFd,
    listener: OwnedFd,
    /// Connections that speak in lines. The first is the daemon's that launched us, while it lasts.
    lines: Vec<Line>,
    /// The container's own streams first, then those of execs.
    sessions: Vec<Session>,
    /// Execs whose program does not run yet.
    starting: Vec<Starting>,
    /// Children that ended before it was known whose they are.
    unclaimed: Vec<(i32, i32)>,
    /// Keeps the container's mounts a little longer than its processes: letting go of them takes milliseconds, which
    /// nobody who waits for the exit should wait for.
    mounts: Option<OwnedFd>,
    /// No connection is accepted before: there is no descriptor for it.
    accept_after: Option<Instant>,
    phase: Phase,
    hooks: Option<hooks::Kept>,
}

/// What became ready in one turn of the loop. The numbers are positions in the lists of [`Monitor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Sync,
    Exec(usize),
    Line(usize),
    Output(usize, usize),
    Stdin(usize),
    Client(usize, usize),
}

/// Runs in the forked process until the container has ended. Returns the exit code.
pub fn main(proof: &SingleThreaded, directory: &Path, connections: Vec<OwnedFd>) -> i32 {
    serve(proof, directory, connections, start::detach().map(|()| None))
}

/// As [`main`], in a process forked before there is a container: makes namespaces, then waits on the socket for the run
/// directory and the connections.
pub fn ahead(proof: &SingleThreaded, spawner: OwnedFd) -> i32 {
    let entered = start::detach().and_then(|()| Ahead::enter());
    let Ok(ahead) = entered else {
        // The spawner finds the socket closed, and forks a monitor that reports what is wrong here.
        return 1;
    };
    match spawner::receive_launch(spawner.as_fd()) {
        Ok(Some((directory, connections))) => {
            // A spawner that is gone meanwhile starts nobody else.
            let _ = wharf_sys::socket::send(spawner.as_fd(), spawner::TAKEN, &[]);
            drop(spawner);
            serve(proof, &directory, connections, Ok(Some(ahead)))
        }
        // The spawner is gone.
        Ok(None) => 0,
        Err(_) => 1,
    }
}

fn serve(
    proof: &SingleThreaded,
    directory: &Path,
    connections: Vec<OwnedFd>,
    detached: Result<Option<Ahead>>,
) -> i32 {
    wharf_failpoint::remember();
    failpoint!("monitor.begun");
    let mut connections = connections.into_iter();
    // The spawner sends none without.
    let Some(control) = connections.next() else { return 1 };
    let mut control = Line::new(control, true);
    let clients = connections.collect();
    let prepared = detached.and_then(|ahead| start::prepare(proof, directory, &mut control, clients, ahead));
    let failure = match prepared {
        Ok(mut monitor) => {
            monitor.lines.push(control);
            monitor.announce(&Event::Ready);
            match monitor.run() {
                Ok(()) => {
                    // Nobody is left to be told what went wrong.
                    monitor.stop_hooks();
                    return 0;
                }
                Err(e) => {
                    monitor.undo();
                    let e = monitor
                        .stop_hooks()
                        .into_iter()
                        .fold(e, |e, hook| start::with_clean_up(e, Err(hook)));
                    monitor.announce(&Event::Failed { stage: e.stage, message: e.message });
                    return 1;
                }
            }
        }
        Err(e) => e,
    };
    control.queue(&event_line(&Event::Failed { stage: failure.stage, message: failure.message }));
    // When the daemon is gone there is nobody to tell.
    let _ = control.flush();
    1
}

/// An event as a line.
pub(crate) fn event_line(event: &Event) -> Vec<u8> {
    // Events are plain data, which always serialise.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line
}

impl Monitor<'_> {
    fn announce(&mut self, event: &Event) {
        let line = event_line(event);
        for watcher in self.lines.iter_mut().filter(|l| l.watching) {
            watcher.queue(&line);
            // A watcher that went away is dropped by the loop.
            let _ = watcher.flush();
        }
    }

    /// The loop. An error means that the container did not come to run.
    fn run(&mut self) -> Result<()> {
        loop {
            if let Phase::Draining(since) = self.phase
                && (self.sessions.iter().all(Session::is_flushed) || since.elapsed() > DRAIN_LIMIT)
            {
                return Ok(());
            }
            for (source, events) in self.wait().doing("poll")? {
                self.serve_source(source, events)?;
            }
            self.tidy()?;
        }
    }

    fn wait(&self) -> rustix::io::Result<Vec<(Source, PollFlags)>> {
        let interests = self.interests();
        let mut fds: Vec<PollFd<'_>> =
            interests.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let limit = self.next_deadline().map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        match rustix::event::poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        let ready = interests.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, ..), fd)| (*source, fd.revents())).collect())
    }

    /// When something is due without any descriptor being ready.
    fn next_deadline(&self) -> Option<Instant> {
        let drained = match self.phase {
            Phase::Draining(since) => Some(since + DRAIN_LIMIT),
            _ => None,
        };
        let execs = self.starting.iter().map(Starting::deadline);
        execs.chain(drained).chain(self.accept_after).min()
    }

    fn interests(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if self.accept_after.is_none_or(|at| at <= Instant::now()) {
            all.push((Source::Listener, self.listener.as_fd(), PollFlags::IN));
        }
        for (n, exec) in self.starting.iter().enumerate() {
            all.push((Source::Exec(n), exec.sync(), PollFlags::IN));
        }
        if self.phase == Phase::Starting {
            all.push((Source::Sync, self.child.sync.as_fd(), PollFlags::IN));
        }
        for (n, line) in self.lines.iter().enumerate() {
            if let Some(fd) = line.as_fd() {
                all.push((Source::Line(n), fd, line.interest()));
            }
        }
        for (s, session) in self.sessions.iter().enumerate() {
            if !session.is_congested() {
                for (o, output) in session.outputs.iter().enumerate() {
                    all.push((Source::Output(s, o), output.fd.as_fd(), PollFlags::IN));
                }
            }
            if let Some(fd) = session.stdin_waiting() {
                all.push((Source::Stdin(s), fd, PollFlags::OUT));
            }
            for (c, client) in session.clients.iter().enumerate() {
                all.push((Source::Client(s, c), client.as_fd(), client.interest(session.takes_input())));
            }
        }
        all
    }

    fn serve_source(&mut self, source: Source, events: PollFlags) -> Result<()> {
        match source {
            Source::Signals => self.reap(),
            Source::Listener => {
                self.accept();
                Ok(())
            }
            // The process may have ended in this very turn, and init been heard then.
            Source::Sync if self.phase == Phase::Starting => self.hear_init(),
            Source::Sync => Ok(()),
            Source::Exec(n) => {
                self.hear_exec(n);
                Ok(())
            }
            Source::Line(n) => self.serve_line(n, events),
            Source::Output(s, o) => {
                self.sessions[s].read_output(o);
                Ok(())
            }
            Source::Stdin(s) => {
                self.sessions[s].write_stdin();
                Ok(())
            }
            Source::Client(s, c) => {
                self.sessions[s].serve_client(c, events);
                Ok(())
            }
        }
    }

    // Sessions and lines are only ever removed by `tidy`, so their positions hold within a turn.

    fn accept(&mut self) {
        use rustix::io::Errno;
        use rustix::net::{SocketFlags, acceptfrom_with};
        self.accept_after = None;
        match acceptfrom_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((fd, _)) => self.lines.push(Line::new(fd, false)),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
            }
            // A client that went away between poll and accept is no concern.
            Err(_) => {}
        }
    }

    fn hear_init(&mut self) -> Result<()> {
        match init::hear(self.child.sync.as_fd())? {
            None => {
                self.phase = Phase::Running;
                failpoint!("monitor.running");
                let mounts = format!("/proc/{}/ns/mnt", self.child.pid);
                // It may have ended already, with its mounts.
                self.mounts = rustix::fs::open(mounts, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
                let (proof, pid) = (self.proof, self.child.pid);
                let begun = self.hooks.as_mut().map(|hooks| hooks.begin_poststart(proof, pid)).transpose()?;
                if begun != Some(true) {
                    self.announce(&Event::Running { pid });
                }
                wharf_sys::process::trim_heap();
                Ok(())
            }
            Some((Message::Failed(error), _)) => Err(error),
            Some((other, _)) => Err(Error::setup(format!("unexpected message {other:?} of init"))),
        }
    }

    fn reap(&mut self) -> Result<()> {
        while signals::next_signal(self.signals.as_fd()).doing("read signals")?.is_some() {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let (pid, code) = (pid.as_raw_nonzero().get(), exit_code(status));
            match self.hooks.as_mut().and_then(|hooks| hooks.poststart_ended(pid)) {
                Some(_) if matches!(self.phase, Phase::Draining(_)) => {}
                // The container does not go on without (runtime.md, "Lifecycle").
                Some(ran) => {
                    ran?;
                    self.announce(&Event::Running { pid: self.child.pid });
                }
                None => self.ended(pid, code),
            }
            if pid == self.child.pid {
                if self.phase == Phase::Starting {
                    self.hear_init()?;
                }
                self.finish();
                self.phase = Phase::Draining(Instant::now());
            }
        }
        Ok(())
    }

    /// Removes what ended in this turn.
    fn tidy(&mut self) -> Result<()> {
        if self.phase == Phase::Waiting && self.lines.first().is_none_or(|l| l.ended) {
            return Err(Error::setup("the engine went away before the start"));
        }
        self.tidy_execs();
        self.lines.retain(|l| !l.ended);
        self.warn_of_log();
        for session in &mut self.sessions {
            session.tidy();
        }
        let mut first = true;
        self.sessions.retain(|s| std::mem::take(&mut first) || s.code.is_none() || !s.is_flushed());
        Ok(())
    }

    /// The container has ended: its outcome is kept, who watches is told, its cgroup is removed. What clients have not
    /// read yet is all that is left to do then.
    fn finish(&mut self) {
        let exit = Exit {
            code: self.sessions[0].code.unwrap_or(255),
            at_ns: now_ns(),
            oom_killed: self.cgroup.oom_kills().unwrap_or(0) > 0,
        };
        failpoint!("monitor.ended");
        if self.hooks.as_ref().is_some_and(hooks::Kept::runs_poststart) {
            self.announce(&Event::Running { pid: self.child.pid });
        }
        self.warn_of_log();
        if let Err(e) = self.keep(&exit) {
            self.announce(&Event::Warning { message: e.to_string() });
        }
        failpoint!("monitor.exit-kept");
        self.announce(&Event::Exited(exit));
        failpoint!("monitor.exit-told");
        // Attached clients need not wait for the rest, either.
        for session in &mut self.sessions {
            session.let_go();
        }
        // Who starts the container again waits for the end of the connection, and so for the end of all this.
        if let Err(e) = self.remove_traces() {
            self.announce(&Event::Warning { message: e.to_string() });
        }
        failpoint!("monitor.traces-removed");
        self.mounts = None;
        for line in &mut self.lines {
            line.ended = true;
        }
    }

    /// Tells once that the log cannot be written.
    fn warn_of_log(&mut self) {
        let failure = self.sessions[0].log.as_mut().and_then(log::Log::take_failure);
        if let Some(message) = failure {
            self.announce(&Event::Warning { message });
        }
    }

    fn keep(&self, exit: &Exit) -> Result<()> {
        let what = "write the exit code";
        let bytes = serde_json::to_vec(exit).doing(what)?;
        let part = self.directory.join("exit.part");
        std::fs::write(&part, bytes).doing(what)?;
        failpoint!("monitor.exit-part");
        std::fs::rename(&part, self.directory.join(EXIT_FILE)).doing(what)
    }

    fn remove_traces(&self) -> Result<()> {
        // Processes that share the host's PID namespace outlive their first one.
        let left = self.cgroup.signal_all(9);
        failpoint!("monitor.rest-killed");
        let removed = self.cgroup.remove().doing("remove the cgroup");
        let socket = match std::fs::remove_file(self.directory.join(SOCKET_FILE)) {
            // The engine removes the whole directory as soon as it knows of the exit.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing("remove the monitor's socket"),
        };
        left.doing("end the remaining processes").and(removed).and(socket)
    }

    fn stop_hooks(&mut self) -> Vec<Error> {
        let proof = self.proof;
        self.hooks.as_mut().map(|hooks| hooks.stop(proof)).unwrap_or_default()
    }

    fn undo(&mut self) {
        // The process may be gone already; reaping tells.
        let _ = signals::send_pidfd(self.child.pidfd.as_fd(), 9);
        let _ = crate::launch::reap(self.child.pid);
        let _ = self.remove_traces();
    }
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
