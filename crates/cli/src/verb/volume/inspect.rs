//! `volume inspect`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::system::inspect::{Kind, show};
use wharf_docker_api::client::Query;

/// Flags of `volume inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "VOLUME", required = true, hide = true)]
    volumes: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    show(context, &[Kind::Volume], &options.volumes, options.format.as_deref(), &Query::new()).await
}
