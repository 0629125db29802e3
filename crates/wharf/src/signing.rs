//! `wharf sign`, `wharf verify` and `wharf key`: signatures in cosign's format, without an engine.
//!
//! They speak to registries themselves: a private key stays in the user's own process.

mod far;
mod key;
mod sign;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use wharf_model::{Error, ErrorKind, Result};

/// The exit status of what failed in a way that has no status of its own.
const FAILED: i32 = 1;

#[derive(Debug, Parser)]
#[command(name = "wharf", disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sign images in registries, as `cosign sign --key` does
    Sign(sign::Sign),
    /// Verify signatures of images in registries, as `cosign verify --key` does
    Verify(verify::Verify),
    /// Make and read keys for signatures
    #[command(disable_help_subcommand = true)]
    Key {
        #[command(subcommand)]
        verb: key::Key,
    },
}

/// Their command lines, for completion and manual pages.
pub(crate) fn commands() -> Vec<clap::Command> {
    Command::command().get_subcommands().cloned().collect()
}

/// Runs the command line. Returns the exit code.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let command = match Command::try_parse_from([OsString::from("wharf")].into_iter().chain(args)) {
        Ok(command) => command,
        Err(e) => {
            let _ = e.print();
            return e.exit_code();
        }
    };
    let result = match command.verb {
        Verb::Sign(args) => args.run().map(|()| 0),
        Verb::Verify(args) => args.run(),
        Verb::Key { verb } => verb.run().map(|()| 0),
    };
    result.unwrap_or_else(|e| {
        let _ = writeln!(std::io::stderr(), "Error: {}", e.full());
        FAILED
    })
}

/// Speaks to registries on a runtime of one thread.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Error::wrap(ErrorKind::Internal, "start the runtime", e))?.block_on(work)
}

/// The password of a private key: of the environment, else asked. Never of the command line, which others can read.
fn password(prompt: &str) -> Result<Vec<u8>> {
    if let Some(password) = std::env::var_os("COSIGN_PASSWORD") {
        return Ok(password.into_encoded_bytes());
    }
    wharf_cli::user::secret(prompt).map(String::into_bytes).map_err(Error::internal)
}

/// A line for programs and people that go on with it.
fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(|e| Error::wrap(ErrorKind::Internal, "print", e))
}

/// What is said beside the result.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `key=value`
fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "key=value is expected".to_owned())
}
