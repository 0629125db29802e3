//! `network inspect`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::system::inspect::{Kind, show};

/// Flags of `network inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Format output using a custom template: 'json', or a Go template
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short = 'v', long)]
    verbose: bool,
    #[arg(value_name = "NETWORK", required = true, hide = true)]
    networks: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    show(context, &[Kind::Network], &options.networks, options.format.as_deref(), false).await
}
