//! `compose ps`.

use super::work::Work;
use crate::context::{Context, line, print};
use crate::failure::{Failure, Outcome};
use crate::format::list::{Listing, Row};
use crate::verb::container::{ports_column, ps::row as container_row};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wharf_compose::plan::label;
use wharf_compose::run::state;
use wharf_docker_api::types::container::Summary;

/// Flags of `compose ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of them, those of `run` too, not the running alone
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, as status=running
    #[arg(long, value_name = "string")]
    filter: Option<String>,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    /// Containers of services that are not in the files, too
    #[arg(long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    orphans: bool,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Show the names of services alone
    #[arg(long)]
    services: bool,
    /// Only those in a state: paused, restarting, removing, running, dead, created, exited
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    status: Vec<String>,
    #[arg(value_name = "SERVICE", hide = true)]
    names: Vec<String>,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("Service", "SERVICE"),
        ("Project", "PROJECT"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("State", "STATE"),
        ("Health", "HEALTH"),
        ("ExitCode", "EXIT CODE"),
        ("Publishers", "PUBLISHERS"),
        ("Ports", "PORTS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ],
    table: &["Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut states = options.status.clone();
    match options.filter.as_deref().map(|filter| filter.split_once('=').unwrap_or((filter, ""))) {
        None => {}
        Some(("status", state)) => states.push(state.to_owned()),
        Some(("source", _)) => return Err(Failure::new("unsupported filter source")),
        Some((other, _)) => return Err(Failure::new(format!("unknown filter {other}"))),
    }
    let work = Work::known(context).await?;
    work.check(&options.names)?;
    let project = &work.loaded.project;
    let mut found = state::summaries(&context.client, &project.name).await?;
    let service = |one: &Summary| one.labels.get(label::SERVICE).cloned().unwrap_or_default();
    let is_one_off = |one: &Summary| one.labels.get(label::ONE_OFF).is_some_and(|on| on == "True");
    found.retain(|one| {
        let in_state = match states.is_empty() {
            true => options.all || ["running", "paused", "restarting"].contains(&one.state.as_str()),
            false => states.contains(&one.state),
        };
        in_state
            && (options.all || !is_one_off(one))
            && (options.names.is_empty() || options.names.contains(&service(one)))
            && (options.orphans || project.services.contains_key(&service(one)))
    });
    if options.quiet {
        found.iter().try_for_each(|one| line(&one.id))?;
        return Ok(0);
    }
    if options.services {
        let names: BTreeSet<String> = found.iter().map(service).collect();
        names.into_iter().try_for_each(line)?;
        return Ok(0);
    }
    let rows: Vec<Row> = found.iter().map(|one| row(one, options.no_trunc)).collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}

fn row(one: &Summary, full: bool) -> Row {
    let mut row = container_row(one, full);
    let name = one.names.first().map(|name| name.trim_start_matches('/')).unwrap_or_default();
    let publishers: Vec<Value> = one
        .ports
        .iter()
        .map(|port| json!({"URL": port.ip, "TargetPort": port.private_port, "PublishedPort": port.public_port, "Protocol": port.kind}))
        .collect();
    let health = [("(healthy)", "healthy"), ("(unhealthy)", "unhealthy"), ("(health: starting)", "starting")];
    let health = health.iter().find(|(shown, _)| one.status.contains(shown)).map_or("", |(_, health)| health);
    let code = one
        .status
        .strip_prefix("Exited (")
        .and_then(|rest| rest.split(')').next())
        .and_then(|code| code.parse::<i64>().ok());
    let label = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
    let cells: [(&str, Value); 7] = [
        ("Name", name.into()),
        ("Service", label(label::SERVICE).into()),
        ("Project", label(label::PROJECT).into()),
        ("Health", health.into()),
        ("ExitCode", code.unwrap_or(0).into()),
        ("Publishers", publishers.into()),
        ("Ports", ports_column::show(&one.ports).into()),
    ];
    row.extend(cells);
    row
}
