//! `network ls`.

use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::list::{ID_WIDTH, Listing, Row, cut, pairs};
use crate::format::time::written;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::network::Inspect;

/// Flags of `network ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what matches, such as driver=bridge
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
}

const LISTING: Listing = Listing {
    columns: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    table: &["ID", "Name", "Driver", "Scope"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().filters(pairs(&options.filter)?);
    let mut networks: Vec<Inspect> = context.client.json(Call::get("/networks").query(query)).await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let width = if options.no_trunc { usize::MAX } else { ID_WIDTH };
    if options.quiet && options.format.is_none() {
        print(networks.iter().map(|network| cut(&network.id, width) + "\n").collect::<String>())?;
        return Ok(0);
    }
    let rows: Vec<Row> = networks
        .iter()
        .map(|network| {
            let labels: Vec<String> =
                network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let mut row = Row::new([
                ("ID", cut(&network.id, width).into()),
                ("Name", network.name.as_str().into()),
                ("Driver", network.driver.as_str().into()),
                ("Scope", network.scope.as_str().into()),
                ("IPv4", network.enable_ipv4.to_string().into()),
                ("IPv6", network.enable_ipv6.to_string().into()),
                ("Internal", network.internal.to_string().into()),
                ("Labels", labels.join(",").into()),
                ("CreatedAt", written(&network.created).into()),
            ]);
            row.labels = network.labels.clone();
            row
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
