//! `system prune`.

use crate::context::{Context, confirm, print};
use crate::failure::{Failure, Outcome};
use crate::format::list::pairs;
use crate::format::size::precise;
use crate::verb::image::rm::said;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::{container, image, network, system, volume};

/// Flags of `system prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every image without a container, named or not
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, such as label=key=value
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
    /// Nameless volumes too
    #[arg(long)]
    volumes: bool,
}

/// The filters of a prune.
pub(crate) fn filters(given: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    pairs(given)
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.volumes && options.filter.iter().any(|filter| filter.starts_with("until=")) {
        return Err(Failure::new("the \"until\" filter is not supported with \"--volumes\""));
    }
    let mut question = String::from(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if options.volumes {
        question += "  - all anonymous volumes not used by at least one container\n";
    }
    question += if options.all {
        "  - all images without at least one container associated to them\n  - all build cache\n"
    } else {
        "  - all dangling images\n  - unused build cache\n"
    };
    question += "\nAre you sure you want to continue?";
    if !options.force && !confirm(&question)? {
        return Ok(0);
    }
    let client = &context.client;
    let query = || Ok::<_, Failure>(Query::new().filters(filters(&options.filter)?));
    let mut reclaimed = 0;
    let show = |title: &str, lines: Vec<String>| {
        if lines.is_empty() { Ok(()) } else { print(format!("Deleted {title}:\n{}\n\n", lines.join("\n"))) }
    };
    let pruned: container::PruneResponse =
        client.json(Call::post("/containers/prune").query(query()?)).await?;
    show("Containers", pruned.containers_deleted.unwrap_or_default())?;
    reclaimed += pruned.space_reclaimed;
    let pruned: network::PruneResponse = client.json(Call::post("/networks/prune").query(query()?)).await?;
    show("Networks", pruned.networks_deleted.unwrap_or_default())?;
    if options.volumes {
        let pruned: volume::PruneResponse = client.json(Call::post("/volumes/prune").query(query()?)).await?;
        show("Volumes", pruned.volumes_deleted.unwrap_or_default())?;
        reclaimed += pruned.space_reclaimed;
    }
    let mut with_dangling = filters(&options.filter)?;
    with_dangling.push(("dangling", if options.all { "false" } else { "true" }));
    let call = Call::post("/images/prune").query(Query::new().filters(with_dangling));
    let pruned: image::PruneResponse = client.json(call).await?;
    show("Images", pruned.images_deleted.unwrap_or_default().iter().map(said).collect())?;
    reclaimed += pruned.space_reclaimed;
    let call = Call::post("/build/prune").query(query()?.flag("all", options.all));
    let pruned: system::BuildPruneResponse = client.json(call).await?;
    show("build cache objects", pruned.caches_deleted.unwrap_or_default())?;
    reclaimed += pruned.space_reclaimed;
    print(format!("Total reclaimed space: {}\n", precise(reclaimed)))?;
    Ok(0)
}
