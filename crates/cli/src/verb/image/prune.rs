//! `image prune`.

use super::rm::said;
use crate::context::{Context, confirm, print};
use crate::failure::Outcome;
use crate::format::size::precise;
use crate::verb::system::prune::filters;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::PruneResponse;

/// Flags of `image prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every image without a container, named or not
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, such as until=24h or label=x
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let what = if options.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let question = format!("WARNING! This will remove {what}.\nAre you sure you want to continue?");
    if !options.force && !confirm(&question)? {
        return Ok(0);
    }
    let mut filters = filters(&options.filter)?;
    filters.push(("dangling", if options.all { "false" } else { "true" }));
    let call = Call::post("/images/prune").query(Query::new().filters(filters));
    let pruned: PruneResponse = context.client.json(call).await?;
    let mut text = String::new();
    let deleted = pruned.images_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        let lines: Vec<String> = deleted.iter().map(|one| said(one).to_lowercase_first()).collect();
        text = format!("Deleted Images:\n{}\n\n", lines.join("\n"));
    }
    print(text + &format!("Total reclaimed space: {}\n", precise(pruned.space_reclaimed)))?;
    Ok(0)
}

trait LowercaseFirst {
    fn to_lowercase_first(&self) -> String;
}

impl LowercaseFirst for String {
    /// `deleted: …` in lists, where `rmi` says `Deleted: …`.
    fn to_lowercase_first(&self) -> String {
        let mut letters = self.chars();
        letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
    }
}
