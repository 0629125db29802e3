//! Runs hooks (config.md, "POSIX-platform Hooks").

use crate::error::{Doing, Error, Result};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wharf_oci::runtime_spec::{Hook, State};

/// Runs hooks in order with the state on stdin. The first failure ends it.
pub(super) fn run(hooks: &[Hook], state: &State) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec(state).doing("encode the state")?;
    hooks.iter().try_for_each(|hook| {
        run_one(hook, &json).map_err(|e| Error::setup(format!("hook {}: {}", hook.path, e.message)))
    })
}

fn run_one(hook: &Hook, state: &[u8]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|e| e.split_once('=')));
    let mut child = command.stdin(Stdio::piped()).spawn().doing("start")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its input.
        let _ = stdin.write_all(state);
    }
    let status = match hook.timeout {
        None => child.wait().doing("wait")?,
        Some(seconds) => wait_at_most(&mut child, Duration::from_secs(u64::from(seconds)))?,
    };
    if status.success() { Ok(()) } else { Err(Error::setup(format!("failed with {status}"))) }
}

fn wait_at_most(child: &mut std::process::Child, limit: Duration) -> Result<std::process::ExitStatus> {
    let pid = rustix::process::Pid::from_child(child);
    let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).doing("wait")?;
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().doing("wait")? {
            return Ok(status);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            child.kill().doing("end after the timeout")?;
            child.wait().doing("wait")?;
            return Err(Error::setup(format!("did not end within {} s", limit.as_secs())));
        }
        let timeout =
            rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) | Ok(_) => {}
            Err(e) => return Err(Error::setup(format!("wait: {e}"))),
        }
    }
}
