//! `system prune`.

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::verb::prune::{Flags, deleted, images, reclaimed};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::{container, image, network, system, volume};

/// Flags of `system prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every image without a container, named or not
    #[arg(short = 'a', long)]
    all: bool,
    #[command(flatten)]
    flags: Flags,
    /// What the engine's own policy for garbage collection says, and nothing else
    #[arg(long)]
    gc: bool,
    /// Nameless volumes too
    #[arg(long)]
    volumes: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.volumes && options.flags.has("until") {
        return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    let filters = options.flags.filters()?;
    if options.gc {
        if options.all || options.volumes || !filters.is_empty() {
            return Err(Failure::new(
                "conflicting options: --gc takes its rules from the engine's configuration",
            ));
        }
        return collect(context, &options).await;
    }
    if !options.flags.agreed(&list(&options, &filters))? {
        return Ok(0);
    }
    let client = &context.client;
    let query = || Ok::<_, Failure>(Query::new().filters(options.flags.filters()?));
    let mut total = 0;
    let pruned: container::PruneResponse =
        client.json(Call::post("/containers/prune").query(query()?)).await?;
    deleted("Containers", &pruned.containers_deleted.unwrap_or_default())?;
    total += pruned.space_reclaimed;
    let pruned: network::PruneResponse = client.json(Call::post("/networks/prune").query(query()?)).await?;
    deleted("Networks", &pruned.networks_deleted.unwrap_or_default())?;
    if options.volumes {
        let pruned: volume::PruneResponse = client.json(Call::post("/volumes/prune").query(query()?)).await?;
        deleted("Volumes", &pruned.volumes_deleted.unwrap_or_default())?;
        total += pruned.space_reclaimed;
    }
    let mut with_dangling = options.flags.filters_without("dangling")?;
    with_dangling.push(("dangling", if options.all { "false" } else { "true" }));
    let call = Call::post("/images/prune").query(Query::new().filters(with_dangling));
    let pruned: image::PruneResponse = client.json(call).await?;
    deleted("Images", &images(&pruned.images_deleted.unwrap_or_default()))?;
    total += pruned.space_reclaimed;
    let call = Call::post("/build/prune").query(query()?.flag("all", options.all));
    let pruned: system::BuildPruneResponse = client.json(call).await?;
    deleted("build cache objects", &pruned.caches_deleted.unwrap_or_default())?;
    total += pruned.space_reclaimed;
    reclaimed(total)?;
    Ok(0)
}

async fn collect(context: &Context, options: &Options) -> Outcome {
    if !options.flags.agreed(" what the engine's policy for garbage collection says.\n")? {
        return Ok(0);
    }
    let pruned: system::GcResponse = context.client.json(Call::post("/system/gc")).await?;
    deleted("Containers", &pruned.containers_deleted)?;
    deleted("Volumes", &pruned.volumes_deleted)?;
    deleted("Images", &images(&pruned.images_deleted))?;
    reclaimed(pruned.space_reclaimed)?;
    Ok(0)
}

/// What goes, for the question.
fn list(options: &Options, filters: &[(&str, &str)]) -> String {
    let mut list =
        String::from(":\n  - all stopped containers\n  - all networks not used by at least one container\n");
    if options.volumes {
        list += "  - all anonymous volumes not used by at least one container\n";
    }
    list += if options.all {
        "  - all images without at least one container associated to them\n  - all build cache\n"
    } else {
        "  - all dangling images\n  - unused build cache\n"
    };
    if !filters.is_empty() {
        list += "\n  Items to be pruned will be filtered with:\n";
        let mut lines: Vec<String> =
            filters.iter().map(|(name, value)| format!("  - {name}={value}\n")).collect();
        lines.sort();
        list += &lines.concat();
    }
    list + "\n"
}
