//! Named steps at which a test kills the process that comes to them. A release build has none of it.
//!
//! `WHARF_FAILPOINTS` names a file; the process that comes to the step whose name is in the file removes the file and
//! dies as by `kill -9`. So a step is armed while everything runs, and fires once. The names are listed, and each of
//! them is tried, in `tests/e2e/tests/e2e/failpoints.rs`.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Ends the process here if a test wants that.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        if cfg!(debug_assertions) {
            $crate::reached($name);
        }
    };
}

const VARIABLE: &str = "WHARF_FAILPOINTS";

static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
/// What a process armed itself with that will not see the file any more.
static REMEMBERED: OnceLock<String> = OnceLock::new();

/// The variable for processes of ours that get an environment of their own.
pub fn environment() -> Option<(&'static str, OsString)> {
    if cfg!(debug_assertions) { std::env::var_os(VARIABLE).map(|file| (VARIABLE, file)) } else { None }
}

fn file() -> Option<&'static PathBuf> {
    FILE.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from)).as_ref()
}

/// Reads the file now, for a child of this process that will have another root.
pub fn remember() {
    if cfg!(debug_assertions)
        && let Some(armed) = file().and_then(|file| std::fs::read_to_string(file).ok())
    {
        // Whoever was first read the same.
        let _ = REMEMBERED.set(armed);
    }
}

/// What [`failpoint!`] does.
pub fn reached(name: &str) {
    let Some(file) = file() else { return };
    let armed = std::fs::read_to_string(file).ok();
    let armed = armed.as_deref().or_else(|| REMEMBERED.get().map(String::as_str));
    if armed.map(str::trim) == Some(name) {
        // Behind another root it stays; whoever armed it removes it then.
        let _ = std::fs::remove_file(file);
        die();
    }
}

/// A signal does not end the first process of a PID namespace that sends it to itself; the end of abort(3) does.
fn die() -> ! {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
