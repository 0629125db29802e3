//! Process 1 of a container with `--init`: starts the program, passes signals on, reaps orphans.

use crate::init::lookup::Program;
use crate::launch::exit_code;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::process::{Pid, WaitOptions};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use wharf_sys::process::{self, Cloned, SingleThreaded};
use wharf_sys::signals;

/// The name (`argv[0]`) under which the binary is this init.
pub const NAME: &str = "wharf-init";

/// Executes our own program as the init of a container.
pub(crate) fn exec(own: BorrowedFd<'_>, program: &Program) -> std::io::Error {
    let name = CString::new(NAME).unwrap_or_default();
    let args: Vec<CString> =
        [name, program.path.clone()].into_iter().chain(program.args.iter().cloned()).collect();
    process::exec_fd(own, &args, &program.env)
}

/// `argv` is the name, the path of the program, and its arguments. Returns the exit code.
pub fn main(argv: Vec<OsString>) -> i32 {
    match run(argv) {
        Ok(code) => code,
        Err(e) => {
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("{NAME}: {e}\n").as_bytes());
            127
        }
    }
}

fn run(argv: Vec<OsString>) -> std::io::Result<i32> {
    rustix::thread::set_name(c"wharf-init")?;
    let text = |s: OsString| CString::new(s.into_vec()).map_err(std::io::Error::other);
    let mut argv = argv.into_iter().skip(1);
    let path = text(argv.next().ok_or_else(|| std::io::Error::other("no program"))?)?;
    let args = argv.map(text).collect::<Result<Vec<_>, _>>()?;
    let env = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(name)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let passed: Vec<i32> = (1..=31).filter(|s| ![9, 19, 17, 11, 4, 8, 7, 5, 6].contains(s)).collect();
    let all: Vec<i32> = passed.iter().copied().chain([17]).collect();
    let fd = signals::signal_fd(&all)?;
    let child = match process::clone(&SingleThreaded::verify()?, 0, None)? {
        Cloned::Child => {
            let _ = rustix::process::setpgid(None, None);
            // While signals are held back: a group in the background that takes the terminal is stopped by one.
            let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
            process::default_signals();
            let error = process::exec(&path, &args, &env);
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("{NAME}: {error}\n").as_bytes());
            process::exit_now(127)
        }
        Cloned::Parent { pid, .. } => pid,
    };
    loop {
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        while let Some(signal) = signals::next_signal(fd.as_fd())? {
            if passed.contains(&signal) {
                // The program may have ended this very moment; its exit is seen below.
                let _ = signals::send(child, signal);
            }
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if Some(pid) == Pid::from_raw(child) {
                return Ok(exit_code(status));
            }
        }
    }
}
