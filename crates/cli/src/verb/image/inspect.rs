//! `image inspect`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::system::inspect::{Kind, show};
use wharf_docker_api::client::Query;

/// Flags of `image inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    /// Only if it is for this platform, such as linux/amd64
    #[arg(long, value_name = "string", value_parser = crate::parse::platform::platform)]
    platform: Option<String>,
    #[arg(value_name = "IMAGE", required = true, hide = true)]
    images: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().maybe("platform", options.platform.as_ref());
    show(context, &[Kind::Image], &options.images, options.format.as_deref(), &query).await
}
