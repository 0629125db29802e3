//! `compose ls`.

use crate::context::{Context, line, print};
use crate::failure::{Failure, Outcome};
use crate::format::list::{Listing, Row};
use std::collections::BTreeMap;
use wharf_compose::plan::label;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::Summary;

/// Flags of `compose ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of them, not those with running containers alone
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, as name=NAME
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Show as table or json
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show names alone
    #[arg(short = 'q', long)]
    quiet: bool,
}

const LISTING: Listing = Listing {
    columns: &[("Name", "NAME"), ("Status", "STATUS"), ("ConfigFiles", "CONFIG FILES")],
    table: &["Name", "Status", "ConfigFiles"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut names = Vec::new();
    for filter in &options.filter {
        match filter.split_once('=') {
            Some(("name", name)) => names.push(name),
            _ => return Err(Failure::new(format!("invalid filter {filter:?}: name=NAME"))),
        }
    }
    let query = Query::new().with("all", 1).filters([("label", label::PROJECT), ("label", label::HASH)]);
    let containers: Vec<Summary> = context.client.json(Call::get("/containers/json").query(query)).await?;
    let mut projects: BTreeMap<String, (BTreeMap<String, usize>, String)> = BTreeMap::new();
    for one in containers {
        let text = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
        let (states, files) = projects.entry(text(label::PROJECT)).or_default();
        *states.entry(one.state.clone()).or_default() += 1;
        *files = text(label::CONFIG_FILES);
    }
    projects.retain(|name, (states, _)| {
        (options.all || states.contains_key("running"))
            && (names.is_empty() || names.iter().any(|wanted| name.contains(wanted)))
    });
    if options.quiet {
        projects.keys().try_for_each(line)?;
        return Ok(0);
    }
    let status = |states: &BTreeMap<String, usize>| {
        states.iter().map(|(state, count)| format!("{state}({count})")).collect::<Vec<_>>().join(", ")
    };
    if options.format.as_deref() == Some("json") {
        let all: Vec<serde_json::Value> = projects
            .iter()
            .map(|(name, (states, files))| serde_json::json!({"Name": name, "Status": status(states), "ConfigFiles": files}))
            .collect();
        line(serde_json::Value::Array(all))?;
        return Ok(0);
    }
    let rows: Vec<Row> = projects
        .iter()
        .map(|(name, (states, files))| {
            Row::new([
                ("Name", name.as_str().into()),
                ("Status", status(states).into()),
                ("ConfigFiles", files.as_str().into()),
            ])
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
