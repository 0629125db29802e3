//! The runtime behind runc's command line, for Podman, Docker, containerd and CRI-O (runtime-spec, runtime.md).

mod create;
mod exec;
mod features;
mod lifecycle;
mod relay;
mod state;

use crate::error::{Error, Result};
use crate::sealed;
use clap::{Args, Parser, Subcommand};
pub(crate) use features::SPEC_VERSION;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

/// Where containers of this command line are remembered.
pub const DEFAULT_ROOT: &str = "/run/wharf-oci";

#[derive(Debug, Parser)]
#[command(
    name = "wharf oci",
    bin_name = "wharf oci",
    about = "OCI container runtime",
    disable_version_flag = true
)]
struct Command {
    /// Directory for the state of containers
    #[arg(long, default_value = DEFAULT_ROOT, global = true)]
    root: PathBuf,
    /// File that errors are written to as well
    #[arg(long, global = true)]
    log: Option<PathBuf>,
    /// Format of that file: text or json
    #[arg(long, default_value = "text", global = true)]
    log_format: String,
    /// Accepted for runc's sake; Wharf writes no debug output here
    #[arg(long, global = true)]
    debug: bool,
    /// Accepted for runc's sake: a cgroup path of systemd's form is made without systemd
    #[arg(long, global = true)]
    systemd_cgroup: bool,
    /// Accepted for runc's sake: rootless is decided by the user id
    #[arg(long, global = true)]
    rootless: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a container
    Create(create::CreateArgs),
    /// Start a created container
    Start(Id),
    /// Create, start and wait for a container
    Run(create::RunArgs),
    /// Print the state of a container
    State(Id),
    /// Send a signal to a container
    Kill(lifecycle::KillArgs),
    /// Delete a container
    Delete(lifecycle::DeleteArgs),
    /// Run a further process in a container
    Exec(exec::ExecArgs),
    /// List the processes of a container
    Ps(lifecycle::PsArgs),
    /// Stop all processes of a container for a while
    Pause(Id),
    /// Let them go on
    Resume(Id),
    /// Change the limits of a container
    Update(lifecycle::UpdateArgs),
    /// List containers
    List(lifecycle::ListArgs),
    /// Print what the runtime can do
    Features,
}

/// A container's id.
#[derive(Debug, Args)]
struct Id {
    /// The container's id
    id: String,
}

/// Runs the command line. `args` begins with the program's name. Returns the exit code.
pub fn main(args: Vec<OsString>) -> i32 {
    if args.iter().skip(1).any(|a| a == "--version" || a == "-v") {
        return print(&format!("wharf oci version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), SPEC_VERSION));
    }
    let command = match Command::try_parse_from(args) {
        Ok(command) => command,
        Err(e) => {
            let _ = e.print();
            return e.exit_code();
        }
    };
    let (log, format) = (command.log.clone(), command.log_format.clone());
    match run(command) {
        Ok(code) => code,
        Err(e) => {
            report(&e, log, &format);
            1
        }
    }
}

fn run(command: Command) -> Result<i32> {
    let root = command.root;
    if matches!(command.verb, Verb::Create(_) | Verb::Run(_) | Verb::Exec(_)) {
        sealed::ensure(&sealed::environment())?;
    }
    match command.verb {
        Verb::Create(args) => create::create(&root, &args),
        Verb::Start(Id { id }) => create::start(&root, &id),
        Verb::Run(args) => create::run(&root, &args),
        Verb::State(Id { id }) => lifecycle::state(&root, &id),
        Verb::Kill(args) => lifecycle::kill(&root, &args),
        Verb::Delete(args) => lifecycle::delete(&root, &args),
        Verb::Exec(args) => exec::exec(&root, args),
        Verb::Ps(args) => lifecycle::ps(&root, &args),
        Verb::Pause(Id { id }) => lifecycle::freeze(&root, &id, true),
        Verb::Resume(Id { id }) => lifecycle::freeze(&root, &id, false),
        Verb::Update(args) => lifecycle::update(&root, &args),
        Verb::List(args) => lifecycle::list(&root, &args),
        Verb::Features => features::print_features(),
    }
}

/// Tells of what goes on nevertheless.
fn warn(error: &Error) {
    let _ = writeln!(std::io::stderr(), "wharf oci: warning: {error}");
}

fn report(error: &Error, log: Option<PathBuf>, format: &str) {
    let _ = writeln!(std::io::stderr(), "wharf oci: {error}");
    let Some(log) = log else { return };
    let line = match format {
        "json" => serde_json::json!({"level": "error", "msg": error.message}).to_string(),
        _ => format!("level=error msg={:?}", error.message),
    };
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(&log);
    if let Err(e) = opened.and_then(|mut f| writeln!(f, "{line}")) {
        let _ = writeln!(std::io::stderr(), "wharf oci: write {}: {e}", log.display());
    }
}

/// Prints to standard output. Returns the exit code.
fn print(text: &str) -> i32 {
    i32::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}
