//! The terminal: its size, and raw mode.

use crate::failure::Failure;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{stderr, stdin, stdout};

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    isatty(stdout())
}

/// Height and width in characters; `None` without a terminal.
pub(crate) fn size() -> Option<[u32; 2]> {
    size_of(stdout())
}

/// The same of the terminal on standard error.
pub(crate) fn error_size() -> Option<[u32; 2]> {
    size_of(stderr())
}

fn size_of(terminal: impl std::os::fd::AsFd) -> Option<[u32; 2]> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then(|| [size.ws_row.into(), size.ws_col.into()])
}

/// Raw mode of the terminal on standard input, until dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Every key goes to the container, none to the line editing here.
    pub(crate) fn enter() -> Result<Self, Failure> {
        let failed = |errno| Failure::new(format!("set the terminal raw: {errno}"));
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl RawMode {
    /// Keys come one by one and are not shown; Ctrl-C and its like are signals as before.
    pub(crate) fn keys() -> Result<Self, Failure> {
        use rustix::termios::LocalModes;
        let failed = |errno| Failure::new(format!("take keys of the terminal: {errno}"));
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut keys = before.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &keys).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Reads a line from the terminal without showing it.
pub(crate) fn read_secret(prompt: &str) -> Result<String, Failure> {
    use rustix::termios::LocalModes;
    let failed = |errno| Failure::new(format!("hide the terminal's input: {errno}"));
    let before = tcgetattr(stdin()).map_err(failed)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    quiet.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(stdin(), OptionalActions::Now, &quiet).map_err(failed)?;
    let restore = RawMode { before };
    // Only now: who sees it may type.
    crate::context::print(prompt)?;
    let mut secret = String::new();
    let read = stdin().read_line(&mut secret);
    drop(restore);
    read?;
    Ok(secret.trim_end_matches(['\r', '\n']).to_owned())
}
