//! `system df`.

mod details;

use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row};
use crate::format::size::precise;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::system::DiskUsage;

/// Flags of `system df`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show each image, container and volume
    #[arg(short = 'v', long)]
    verbose: bool,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let usage: DiskUsage = context.client.json(Call::get("/system/df")).await?;
    if options.verbose {
        print(match options.format.as_deref() {
            None | Some("" | "table") => details::tables(&usage)?,
            Some(format) => details::formatted(&usage, format)?,
        })?;
        return Ok(0);
    }
    print(LISTING.show(&summary(&usage), options.format.as_deref())?)?;
    Ok(0)
}

fn summary(usage: &DiskUsage) -> Vec<Row> {
    let containers = usage.containers.as_deref().unwrap_or_default();
    let images = usage.images.as_deref().unwrap_or_default();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let cache = usage.build_cache.as_deref().unwrap_or_default();

    let idle = images.iter().filter(|image| image.containers <= 0).count();
    // What images in use have for themselves stays.
    let used: i64 = images
        .iter()
        .filter(|image| image.containers > 0)
        .map(|image| image.size - image.shared_size.max(0))
        .sum();
    let (active_images, free) = (images.len() - idle, usage.layers_size - used);

    let size = |container: &&wharf_docker_api::types::container::Summary| container.size_rw.unwrap_or(0);
    let active =
        containers.iter().filter(|c| matches!(c.state.as_str(), "running" | "paused" | "restarting"));
    let all_size: i64 = containers.iter().map(|c| size(&c)).sum();
    let active_size: i64 = active.clone().map(|c| size(&c)).sum();

    let bytes = |volume: &wharf_docker_api::types::volume::Volume| {
        volume.usage_data.as_ref().map_or(0, |u| u.size.max(0))
    };
    let in_use = |volume: &&wharf_docker_api::types::volume::Volume| {
        volume.usage_data.as_ref().is_some_and(|u| u.ref_count > 0)
    };
    let volume_size: i64 = volumes.iter().map(bytes).sum();
    let volume_used: i64 = volumes.iter().filter(in_use).map(bytes).sum();

    let cache_size: i64 = cache.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum();
    let cache_used: i64 =
        cache.iter().filter(|entry| entry.in_use && !entry.shared).map(|entry| entry.size).sum();

    vec![
        row("Images", images.len(), active_images, usage.layers_size, free),
        row("Containers", containers.len(), active.count(), all_size, all_size - active_size),
        row(
            "Local Volumes",
            volumes.len(),
            volumes.iter().filter(in_use).count(),
            volume_size,
            volume_size - volume_used,
        ),
        row(
            "Build Cache",
            cache.len(),
            cache.iter().filter(|entry| entry.in_use).count(),
            cache_size,
            cache_size - cache_used,
        ),
    ]
}

fn row(kind: &str, total: usize, active: usize, size: i64, reclaimable: i64) -> Row {
    let reclaimable = reclaimable.clamp(0, size.max(0));
    let percent = if size > 0 { format!(" ({}%)", reclaimable * 100 / size) } else { String::new() };
    Row::new([
        ("Type", kind.into()),
        ("TotalCount", total.to_string().into()),
        ("Active", active.to_string().into()),
        ("Size", precise(size.max(0).cast_unsigned()).into()),
        ("Reclaimable", format!("{}{percent}", precise(reclaimable.cast_unsigned())).into()),
    ])
}
