//! `image prune`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::prune::{Flags, deleted, images, reclaimed};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::PruneResponse;

/// Flags of `image prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every image without a container, named or not
    #[arg(short = 'a', long)]
    all: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let what = if options.all {
        " all images without at least one container associated to them.\n"
    } else {
        " all dangling images.\n"
    };
    if !options.flags.agreed(what)? {
        return Ok(0);
    }
    let mut filters = options.flags.filters_without("dangling")?;
    filters.push(("dangling", if options.all { "false" } else { "true" }));
    let call = Call::post("/images/prune").query(Query::new().filters(filters));
    let pruned: PruneResponse = context.client.json(call).await?;
    deleted("Images", &images(&pruned.images_deleted.unwrap_or_default()))?;
    reclaimed(pruned.space_reclaimed)?;
    Ok(0)
}
