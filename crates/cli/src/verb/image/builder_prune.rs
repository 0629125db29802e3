//! `builder prune`.

use crate::context::Context;
use crate::failure::Outcome;
use crate::parse::size;
use crate::verb::prune::{Flags, deleted, reclaimed};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::system::BuildPruneResponse;

/// Flags of `builder prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of the cache, whatever still uses it
    #[arg(short = 'a', long)]
    all: bool,
    #[command(flatten)]
    flags: Flags,
    /// Bytes of cache that may stay
    #[arg(long, value_name = "bytes", value_parser = size::bytes)]
    keep_storage: Option<i64>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let what = if options.all { " all build cache. " } else { " all dangling build cache. " };
    if !options.flags.agreed(what)? {
        return Ok(0);
    }
    let mut query = Query::new().flag("all", options.all).filters(options.flags.filters()?);
    if let Some(keep) = options.keep_storage {
        query = query.with("keep-storage", keep);
    }
    let pruned: BuildPruneResponse = context.client.json(Call::post("/build/prune").query(query)).await?;
    deleted("build cache objects", &pruned.caches_deleted.unwrap_or_default())?;
    reclaimed(pruned.space_reclaimed)?;
    Ok(0)
}
