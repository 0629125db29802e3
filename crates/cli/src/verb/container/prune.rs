//! `container prune`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::prune::{Flags, deleted, reclaimed};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::PruneResponse;

/// Flags of `container prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if !options.flags.agreed(" all stopped containers.\n")? {
        return Ok(0);
    }
    let query = Query::new().filters(options.flags.filters()?);
    let pruned: PruneResponse = context.client.json(Call::post("/containers/prune").query(query)).await?;
    deleted("Containers", &pruned.containers_deleted.unwrap_or_default())?;
    reclaimed(pruned.space_reclaimed)?;
    Ok(0)
}
