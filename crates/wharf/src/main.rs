//! The `wharf` binary: wiring and configuration; the only place that names adapters.
#![forbid(unsafe_code)]

mod background;
mod daemon;
mod launcher;
mod registry;
mod signing;

use std::ffi::OsString;

fn main() {
    let args: Vec<OsString> = std::env::args_os().collect();
    std::process::exit(dispatch(args));
}

/// Programs that share the binary are told apart before anything else is set up: they must stay small.
fn dispatch(args: Vec<OsString>) -> i32 {
    let name = args.first().map(OsString::as_os_str).unwrap_or_default();
    if name == wharf_runtime::reaper::NAME {
        return wharf_runtime::reaper::main(args);
    }
    match args.get(1).and_then(|a| a.to_str()) {
        Some("spawner") => wharf_runtime::spawner::main(),
        Some("oci") => wharf_runtime::oci::main(args.into_iter().skip(1).collect()),
        Some("daemon") => daemon::main(args.into_iter().skip(1).collect()),
        Some("registry") => registry::main(args.into_iter().skip(1).collect()),
        Some("sign" | "verify" | "key") => signing::main(args.into_iter().skip(1).collect()),
        _ => wharf_cli::main(args, background::HOOKS),
    }
}
