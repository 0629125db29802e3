//! `image prune`.

use super::rm::said;
use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::prune::{Flags, deleted, reclaimed};
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
    let mut filters = options.flags.filters()?;
    filters.push(("dangling", if options.all { "false" } else { "true" }));
    let call = Call::post("/images/prune").query(Query::new().filters(filters));
    let pruned: PruneResponse = context.client.json(call).await?;
    let lines: Vec<String> =
        pruned.images_deleted.unwrap_or_default().iter().map(|one| lowercase_first(&said(one))).collect();
    deleted("Images", &lines)?;
    reclaimed(pruned.space_reclaimed)?;
    Ok(0)
}

/// `deleted: …` in lists, where `rmi` says `Deleted: …`.
fn lowercase_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
