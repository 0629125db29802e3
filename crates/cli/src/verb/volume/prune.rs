//! `volume prune`.

use crate::context::{Context, confirm, print};
use crate::failure::Outcome;
use crate::format::size::precise;
use crate::verb::system::prune::filters;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::volume::PruneResponse;

/// Flags of `volume prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Volumes with a name too
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, such as label=x
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let what = if options.all { "all" } else { "anonymous" };
    let question = format!(
        "WARNING! This will remove {what} local volumes not used by at least one container.\nAre you sure you want to continue?"
    );
    if !options.force && !confirm(&question)? {
        return Ok(0);
    }
    let mut filters = filters(&options.filter)?;
    if options.all {
        filters.push(("all", "true"));
    }
    let call = Call::post("/volumes/prune").query(Query::new().filters(filters));
    let pruned: PruneResponse = context.client.json(call).await?;
    let deleted = pruned.volumes_deleted.unwrap_or_default();
    let mut text = String::new();
    if !deleted.is_empty() {
        text = format!("Deleted Volumes:\n{}\n\n", deleted.join("\n"));
    }
    print(text + &format!("Total reclaimed space: {}\n", precise(pruned.space_reclaimed)))?;
    Ok(0)
}
