//! `logout`.

use super::login::server_key;
use crate::context::{Context, line};
use crate::failure::Outcome;

/// Flags of `logout`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "SERVER", hide = true)]
    server: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let server = server_key(options.server.as_deref());
    line(format!("Removing login credentials for {server}"))?;
    context.config()?.forget(&server)?;
    Ok(0)
}
