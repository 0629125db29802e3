//! `volume prune`.

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::verb::prune::{Flags, deleted, reclaimed};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::volume::PruneResponse;

/// Flags of `volume prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Volumes with a name too
    #[arg(short = 'a', long)]
    all: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.all && options.flags.has("all") {
        return Err(Failure::new("conflicting options: cannot specify both --all and --filter all=1"));
    }
    let what = if options.all { "all" } else { "anonymous" };
    options.flags.filters()?;
    if !options.flags.agreed(&format!(" {what} local volumes not used by at least one container.\n"))? {
        return Ok(0);
    }
    let mut filters = options.flags.filters()?;
    if options.all {
        filters.push(("all", "true"));
    }
    let call = Call::post("/volumes/prune").query(Query::new().filters(filters));
    let pruned: PruneResponse = context.client.json(call).await?;
    deleted("Volumes", &pruned.volumes_deleted.unwrap_or_default())?;
    reclaimed(pruned.space_reclaimed)?;
    Ok(0)
}
