//! `tag`.

use super::path;
use crate::context::Context;
use crate::failure::Outcome;
use crate::image_ref::split;
use wharf_docker_api::client::{Call, Query};

/// Flags of `tag`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "SOURCE_IMAGE", required = true, hide = true)]
    source: String,
    #[arg(value_name = "TARGET_IMAGE", required = true, hide = true)]
    target: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (repository, tag) = split(&options.target);
    let query = Query::new().with("repo", repository).with("tag", tag.unwrap_or("latest"));
    context.client.done(Call::post(path(&options.source, "/tag")).query(query)).await?;
    Ok(0)
}
