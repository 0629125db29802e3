//! The first command starts an engine when none is there.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use wharf_cli::Hooks;

/// What the binary adds to the command line.
pub(crate) const HOOKS: Hooks = Hooks {
    start_daemon: Some(start),
    commands: &[
        ("daemon", "Run the engine"),
        ("registry", "Serve a registry"),
        ("sign", "Sign images in registries"),
        ("verify", "Verify signatures of images in registries"),
        ("key", "Make and read keys for signatures"),
        ("oci", "Run containers behind runc's command line"),
    ],
    programs,
    version: env!("CARGO_PKG_VERSION"),
};

/// The programs that have flags of their own.
fn programs() -> Vec<clap::Command> {
    let mut all = vec![crate::daemon::command(), crate::registry::command()];
    all.extend(crate::signing::commands());
    all
}

const LOG: &str = "/var/log/wharf.log";

/// Starts the default engine and returns when it listens.
fn start(socket: &Path) -> Result<(), String> {
    if socket != Path::new(crate::daemon::DEFAULT_SOCKET) {
        return Err(format!("no engine listens on {}", socket.display()));
    }
    if !rustix::process::geteuid().is_root() {
        return Err("no engine runs, and starting one needs root: run `sudo wharf daemon`".to_owned());
    }
    let log =
        OpenOptions::new().append(true).create(true).open(LOG).map_err(|e| format!("open {LOG}: {e}"))?;
    let mut engine = Command::new("/proc/self/exe")
        .args(["daemon", "--tell-ready"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(|e| format!("start the engine: {e}"))?;
    let out = engine.stdout.take().ok_or("start the engine: no standard output")?;
    let mut line = String::new();
    // The line comes when the engine listens; the end when it failed.
    BufReader::new(out).read_line(&mut line).map_err(|e| format!("wait for the engine: {e}"))?;
    if line.trim() == "ready" { Ok(()) } else { Err(format!("the engine did not start: see {LOG}")) }
}
