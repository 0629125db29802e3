//! Waits for a process in the foreground: passes signals on, and the terminal's bytes both ways.

use crate::error::{Doing, Result};
use crate::init::console;
use crate::launch::exit_code;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use wharf_sys::signals;

const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;

/// The caller's terminal in raw mode; restored when dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Returns the exit code of the child.
pub(super) fn wait(child: i32, terminal: Option<&OwnedFd>) -> Result<i32> {
    let passed: Vec<i32> = (1..=31).filter(|s| ![9, 19, 17, 11, 4, 8, 7, 5, 6, 13].contains(s)).collect();
    let all: Vec<i32> = passed.iter().copied().chain([SIGCHLD]).collect();
    let signal_fd = signals::signal_fd(&all).doing("watch for signals")?;
    let _raw = terminal.and_then(|_| Raw::enter());
    resize(terminal);
    let mut stdin_open = terminal.is_some();
    loop {
        if let Some(code) = reap(child)? {
            if let Some(terminal) = terminal {
                rustix::io::ioctl_fionbio(terminal, true).doing("drain the terminal")?;
                while copy(terminal.as_fd(), rustix::stdio::stdout()) {}
            }
            return Ok(code);
        }
        let mut fds = vec![PollFd::new(&signal_fd, PollFlags::IN)];
        if let Some(terminal) = terminal {
            fds.push(PollFd::new(terminal, PollFlags::IN));
            if stdin_open {
                fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
            }
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other.doing("poll")?,
        };
        let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
        if let (Some(terminal), Some(true)) = (terminal, ready.get(1)) {
            copy(terminal.as_fd(), rustix::stdio::stdout());
        }
        if let (Some(terminal), Some(true)) = (terminal, ready.get(2)) {
            stdin_open = copy(rustix::stdio::stdin(), terminal.as_fd());
        }
        while let Some(signal) = signals::next_signal(signal_fd.as_fd()).doing("read signals")? {
            match signal {
                SIGWINCH if terminal.is_some() => resize(terminal),
                SIGCHLD => {}
                // The child may have ended this very moment; its exit is seen above.
                signal => drop(signals::send(child, signal)),
            }
        }
    }
}

fn resize(terminal: Option<&OwnedFd>) {
    if let (Some(terminal), Ok(size)) = (terminal, tcgetwinsize(rustix::stdio::stdin())) {
        // Without a terminal of ours there is no size to follow.
        let _ = console::resize(terminal, size.ws_row, size.ws_col);
    }
}

/// Copies one piece; whether there may be more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0u8; 16 * 1024];
    match rustix::io::read(from, &mut buffer) {
        Ok(n) if n > 0 => {
            let mut rest = &buffer[..n];
            while !rest.is_empty() {
                match rustix::io::write(to, rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(Errno::INTR) => {}
                    Err(_) => return false,
                }
            }
            true
        }
        Err(Errno::INTR) => true,
        _ => false,
    }
}

fn reap(child: i32) -> Result<Option<i32>> {
    match waitpid(Pid::from_raw(child), WaitOptions::NOHANG) {
        Ok(Some((_, status))) => Ok(Some(exit_code(status))),
        Ok(None) | Err(Errno::INTR) => Ok(None),
        Err(e) => Err(e).doing("wait for the container"),
    }
}
