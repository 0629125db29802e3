//! `network prune`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::prune::{Flags, deleted};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::network::PruneResponse;

/// Flags of `network prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    flags: Flags,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if !options.flags.agreed(" all custom networks not used by at least one container.\n")? {
        return Ok(0);
    }
    let query = Query::new().filters(options.flags.filters()?);
    let pruned: PruneResponse = context.client.json(Call::post("/networks/prune").query(query)).await?;
    deleted("Networks", &pruned.networks_deleted.unwrap_or_default())?;
    Ok(0)
}
