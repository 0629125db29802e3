//! `builder prune`.

use crate::context::{Context, confirm, print};
use crate::failure::Outcome;
use crate::format::size::precise;
use crate::verb::system::prune::filters;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::system::BuildPruneResponse;

/// Flags of `builder prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of the cache, whatever still uses it
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, such as until=24h
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let what = if options.all { "all build cache" } else { "all dangling build cache" };
    if !options.force
        && !confirm(&format!("WARNING! This will remove {what}. Are you sure you want to continue?"))?
    {
        return Ok(0);
    }
    let query = Query::new().flag("all", options.all).filters(filters(&options.filter)?);
    let pruned: BuildPruneResponse = context.client.json(Call::post("/build/prune").query(query)).await?;
    let deleted = pruned.caches_deleted.unwrap_or_default();
    let mut text = String::new();
    if !deleted.is_empty() {
        text = format!("Deleted build cache objects:\n{}\n\n", deleted.join("\n"));
    }
    print(text + &format!("Total reclaimed space: {}\n", precise(pruned.space_reclaimed)))?;
    Ok(0)
}
