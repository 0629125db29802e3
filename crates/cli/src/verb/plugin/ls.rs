//! `plugin ls`.

use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row, pairs};
use serde::Deserialize;
use wharf_docker_api::client::{Call, Query};

/// Flags of `plugin ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what matches, such as enabled=true
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
}

const LISTING: Listing = Listing {
    columns: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("Enabled", "ENABLED"),
        ("PluginReference", "PLUGIN REFERENCE"),
    ],
    table: &["ID", "Name", "Description", "Enabled"],
};

/// What another engine may answer, of `GET /plugins`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Plugin {
    id: String,
    name: String,
    enabled: bool,
    plugin_reference: String,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    description: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().filters(pairs(&options.filter)?);
    let list: Vec<Plugin> = context.client.json(Call::get("/plugins").query(query)).await?;
    let shown = |id: &str| if options.no_trunc { id.to_owned() } else { id.chars().take(12).collect() };
    if options.quiet && options.format.is_none() {
        print(list.iter().map(|plugin| format!("{}\n", shown(&plugin.id))).collect::<String>())?;
        return Ok(0);
    }
    let row = |plugin: Plugin| {
        Row::new([
            ("ID", shown(&plugin.id).into()),
            ("Name", plugin.name.into()),
            ("Description", plugin.config.description.into()),
            ("Enabled", plugin.enabled.into()),
            ("PluginReference", plugin.plugin_reference.into()),
        ])
    };
    let rows: Vec<Row> = list.into_iter().map(row).collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
