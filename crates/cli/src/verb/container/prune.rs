//! `container prune`.

use crate::context::{Context, confirm, print};
use crate::failure::Outcome;
use crate::format::size::precise;
use crate::verb::system::prune::filters;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::PruneResponse;

/// Flags of `container prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what matches, such as until=24h or label=x
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let question = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";
    if !options.force && !confirm(question)? {
        return Ok(0);
    }
    let query = Query::new().filters(filters(&options.filter)?);
    let pruned: PruneResponse = context.client.json(Call::post("/containers/prune").query(query)).await?;
    let mut text = String::new();
    let deleted = pruned.containers_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        text = format!("Deleted Containers:\n{}\n\n", deleted.join("\n"));
    }
    print(text + &format!("Total reclaimed space: {}\n", precise(pruned.space_reclaimed)))?;
    Ok(0)
}
