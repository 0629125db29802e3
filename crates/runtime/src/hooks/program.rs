//! One hook's process.

use crate::error::{Doing, Error, Result};
use crate::launch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::time::{Duration, Instant};
use wharf_oci::runtime_spec::Hook;
use wharf_sys::process::{self, Cloned, SingleThreaded};
use wharf_sys::signals;

/// The last bytes of what a hook writes are part of the error: a message of a few lines.
const OUTPUT_LIMIT: usize = 1024;
/// What a shell answers for a program that cannot be executed.
const CANNOT_EXECUTE: i32 = 126;

/// Runs one hook to its end with `state` on its standard input.
pub(super) fn run(
    proof: &SingleThreaded,
    hook: &Hook,
    directory: &str,
    state: &[u8],
    tie: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let program = Program::of(hook)?;
    if hook.timeout == Some(0) {
        return Err(Error::setup("its timeout is not greater than zero"));
    }
    let pair = || pipe_with(PipeFlags::CLOEXEC).doing("make a pipe");
    let ((stdin, input), (output, stdout)) = (pair()?, pair()?);
    match process::clone(proof, 0, None).doing("start")? {
        Cloned::Child => program.become_it(directory, &stdin, &stdout),
        Cloned::Parent { pid, pidfd } => {
            drop((stdin, stdout));
            for fd in [&input, &output] {
                rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK).doing("prepare a pipe")?;
            }
            let limit = hook.timeout.map(|seconds| Duration::from_secs(u64::from(seconds)));
            let mut running =
                Running { input: Some(input), left: state, output: Some(output), said: Vec::new() };
            let in_time = running.follow(&pidfd, limit, tie);
            if !matches!(in_time, Ok(true)) {
                // With what it started itself; it leads a session, if it came that far.
                let _ = signals::send_pidfd(pidfd.as_fd(), 9);
                let _ = signals::send(-pid, 9);
            }
            // What it wrote last may be in the pipe still.
            let code = launch::reap(pid)?;
            running.listen();
            verdict(in_time?, code, limit, &running.said)
        }
    }
}

fn verdict(in_time: bool, code: i32, limit: Option<Duration>, said: &[u8]) -> Result<()> {
    if in_time && code == 0 {
        return Ok(());
    }
    let why = match limit {
        Some(limit) if !in_time => format!("did not end within {} s", limit.as_secs()),
        _ => format!("exit status {code}"),
    };
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    Err(Error::setup(if said.is_empty() { why } else { format!("{why}, output: {said}") }))
}

struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    fn of(hook: &Hook) -> Result<Self> {
        if !hook.path.starts_with('/') {
            return Err(Error::setup("its path is not absolute"));
        }
        let text = |s: &String| CString::new(s.as_str()).doing(format_args!("pass {s:?} on"));
        let list = |l: &[String]| l.iter().map(text).collect::<Result<Vec<_>>>();
        let named =
            if hook.args.is_empty() { std::slice::from_ref(&hook.path) } else { hook.args.as_slice() };
        Ok(Self { path: text(&hook.path)?, args: list(named)?, env: list(&hook.env)? })
    }

    /// In the new process. What goes wrong is said where a hook speaks.
    fn become_it(&self, directory: &str, stdin: &OwnedFd, stdout: &OwnedFd) -> ! {
        let streams = [stdin, stdout, stdout];
        let placed =
            streams.iter().zip(0..).try_for_each(|(fd, number)| process::place_fd(fd.as_fd(), number));
        let error = placed.and_then(|()| process::close_others(&[], 0)).err();
        let error = error.unwrap_or_else(|| {
            process::default_signals();
            // A session of its own: nothing of it is told of the terminal, and all of it can be ended. It leads none yet.
            let _ = rustix::process::setsid();
            // The bundle is out of sight for a hook inside of the container.
            if rustix::process::chdir(directory).is_err() {
                let _ = rustix::process::chdir("/");
            }
            process::exec(&self.path, &self.args, &self.env)
        });
        let _ = rustix::io::write(rustix::stdio::stderr(), error.to_string().as_bytes());
        process::exit_now(CANNOT_EXECUTE)
    }
}

/// Our side of a hook that runs.
struct Running<'a> {
    input: Option<OwnedFd>,
    left: &'a [u8],
    output: Option<OwnedFd>,
    said: Vec<u8>,
}

impl Running<'_> {
    /// Feeds it and hears it until it ends, which is within the limit or not. Fails when nobody waits any more.
    fn follow(
        &mut self,
        pidfd: &OwnedFd,
        limit: Option<Duration>,
        tie: Option<BorrowedFd<'_>>,
    ) -> Result<bool> {
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let timeout =
                left.map(|l| Timespec { tv_sec: l.as_secs() as i64, tv_nsec: l.subsec_nanos().into() });
            let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
            fds.extend(tie.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty())));
            fds.extend(self.output.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(self.input.iter().map(|fd| PollFd::new(fd, PollFlags::OUT)));
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                other => other.doing("wait")?,
            };
            if !fds[0].revents().is_empty() {
                return Ok(true);
            }
            // Nothing but the end of the connection is waited for there.
            if tie.is_some() && !fds[1].revents().is_empty() {
                return Err(Error::setup("the start was given up"));
            }
            self.listen();
            self.feed();
        }
    }

    fn feed(&mut self) {
        let Some(input) = &self.input else { return };
        match rustix::io::write(input, self.left) {
            Ok(n) => self.left = &self.left[n..],
            Err(Errno::AGAIN | Errno::INTR) => return,
            // A hook need not read its input.
            Err(_) => self.left = &[],
        }
        if self.left.is_empty() {
            self.input = None;
        }
    }

    /// Takes what is there; what it started in the background may keep the pipe open.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(n) => {
                    self.said.extend_from_slice(&buffer[..n]);
                    self.said.drain(..self.said.len().saturating_sub(OUTPUT_LIMIT));
                    if n < buffer.len() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.output = None,
            }
        }
    }
}
