//! The commands alone, without an engine of their own: `DOCKER_HOST=… cargo run --example words -- ps`.

use wharf_cli::Hooks;

fn main() {
    let hooks =
        Hooks { start_daemon: None, commands: &[], programs: Vec::new, version: env!("CARGO_PKG_VERSION") };
    std::process::exit(wharf_cli::main(std::env::args_os().collect(), hooks));
}
