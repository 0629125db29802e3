//! `container inspect`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::system::inspect::{Kind, show};
use wharf_docker_api::client::Query;

/// Flags of `container inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    /// Sum up the sizes of files
    #[arg(short = 's', long)]
    size: bool,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    show(
        context,
        &[Kind::Container],
        &options.containers,
        options.format.as_deref(),
        &Query::new().flag("size", options.size),
    )
    .await
}
