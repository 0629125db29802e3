//! `network inspect`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::system::inspect::{Kind, show};
use wharf_docker_api::client::Query;

/// Flags of `network inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    /// More about services
    #[arg(short = 'v', long)]
    verbose: bool,
    #[arg(value_name = "NETWORK", required = true, hide = true)]
    networks: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    show(context, &[Kind::Network], &options.networks, options.format.as_deref(), &Query::new()).await
}
