//! `compose volumes`.

use super::work::Work;
use crate::context::{Context, line, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row};
use wharf_compose::plan::label;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::volume::ListResponse;

/// Flags of `compose volumes`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show names alone
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Scope", "SCOPE"),
        ("Labels", "LABELS"),
    ],
    table: &["Driver", "Name"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    work.check(&options.services)?;
    let of = format!("{}={}", label::PROJECT, work.loaded.project.name);
    let query = Query::new().filters([("label", of.as_str())]);
    let mut found: ListResponse = context.client.json(Call::get("/volumes").query(query)).await?;
    if !options.services.is_empty() {
        let used = work.run(context).of_services(&options.services).await?;
        found.volumes.retain(|volume| used.iter().any(|one| one.volumes.contains(&volume.name)));
    }
    if options.quiet {
        found.volumes.iter().try_for_each(|volume| line(&volume.name))?;
        return Ok(0);
    }
    let rows: Vec<Row> = found
        .volumes
        .iter()
        .map(|volume| {
            let labels: Vec<String> =
                volume.labels.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
            Row::new([
                ("Driver", volume.driver.as_str().into()),
                ("Name", volume.name.as_str().into()),
                ("Mountpoint", volume.mountpoint.as_str().into()),
                ("Scope", volume.scope.as_str().into()),
                ("Labels", labels.join(",").into()),
            ])
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
