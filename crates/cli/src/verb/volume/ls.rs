//! `volume ls`.

use crate::context::{Context, note, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row, pairs};
use crate::format::size::decimal;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::volume::{ListResponse, Volume};

/// Flags of `volume ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what matches, such as dangling=true
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show names alone
    #[arg(short = 'q', long)]
    quiet: bool,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
        ("Status", "STATUS"),
    ],
    table: &["Driver", "Name"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().filters(pairs(&options.filter)?);
    let mut list: ListResponse = context.client.json(Call::get("/volumes").query(query)).await?;
    list.warnings.unwrap_or_default().iter().for_each(note);
    list.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    if options.quiet && options.format.is_none() {
        print(list.volumes.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>())?;
        return Ok(0);
    }
    let rows: Vec<Row> = list
        .volumes
        .into_iter()
        .map(|volume| {
            let is_known = volume.usage_data.as_ref().is_some_and(|u| u.ref_count > 0 || u.size > 0);
            row(volume, is_known)
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}

/// What a listing may show of a volume; of its use only what is known.
pub(crate) fn row(volume: Volume, is_known: bool) -> Row {
    let labels = volume.labels.unwrap_or_default();
    let shown: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let usage = volume.usage_data.unwrap_or_default();
    let known = |shown: String| if is_known { shown } else { "N/A".into() };
    let mut row = Row::new([
        ("Driver", volume.driver.into()),
        ("Name", volume.name.into()),
        ("Scope", volume.scope.into()),
        ("Mountpoint", volume.mountpoint.into()),
        ("Labels", shown.join(",").into()),
        ("Links", known(usage.ref_count.to_string()).into()),
        ("Size", known(decimal(usage.size)).into()),
        ("Availability", "N/A".into()),
        ("Group", "N/A".into()),
        ("Status", "N/A".into()),
    ]);
    row.labels = labels;
    row
}
