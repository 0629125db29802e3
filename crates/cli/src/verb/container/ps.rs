//! `ps`.

use super::ports_column;
use crate::context::{Context, note, print};
use crate::failure::Outcome;
use crate::format::list::{ID_WIDTH, Listing, Row, cut, ellipsis, pairs};
use crate::format::size::decimal_with;
use crate::format::time::{absolute, ago};
use crate::image_ref::familiar;
use serde_json::Value;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::Summary;

/// Flags of `ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of them, not the running alone
    #[arg(short = 'a', long)]
    all: bool,
    /// Only what matches, as key=value
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// The newest ones, so many, in any state
    #[arg(short = 'n', long, value_name = "int", default_value_t = -1, allow_negative_numbers = true)]
    last: i64,
    /// The newest one, in any state
    #[arg(short = 'l', long)]
    latest: bool,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Sum up the sizes of files
    #[arg(short = 's', long)]
    size: bool,
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];
const PLAIN: Listing = Listing {
    columns: COLUMNS,
    table: &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"],
};
const WITH_SIZE: Listing = Listing {
    columns: COLUMNS,
    table: &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"],
};

/// Characters of a command that are shown.
const COMMAND_WIDTH: usize = 20;
/// Characters of a mount's name that are shown.
const MOUNT_WIDTH: usize = 15;
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let last = if options.latest { 1 } else { options.last };
    let wants_size = options.size
        || options
            .format
            .as_ref()
            .is_some_and(|format| format.contains(".Size") || format.contains("json ."));
    let query = Query::new()
        .flag("all", options.all)
        .maybe("limit", (last > 0).then_some(last))
        .flag("size", wants_size)
        .filters(pairs(&options.filter)?);
    let containers: Vec<Summary> = context.client.json(Call::get("/containers/json").query(query)).await?;
    if options.quiet {
        if options.format.is_some() {
            note("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        }
        let width = if options.no_trunc { usize::MAX } else { ID_WIDTH };
        print(containers.iter().map(|c| cut(&c.id, width) + "\n").collect::<String>())?;
        return Ok(0);
    }
    let rows: Vec<Row> = containers.iter().map(|container| row(container, options.no_trunc)).collect();
    let format = match &options.format {
        Some(format) => Some(format.clone()),
        None => context.config()?.text("psFormat").map(str::to_owned),
    };
    let listing = if options.size { &WITH_SIZE } else { &PLAIN };
    print(listing.show(&rows, format.as_deref())?)?;
    Ok(0)
}

/// What a listing may show of a container; `full` cuts nothing.
pub(crate) fn row(container: &Summary, full: bool) -> Row {
    let width = |short: usize| if full { usize::MAX } else { short };
    let names: Vec<&str> = container
        .names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        // Names with a second slash are links of other containers.
        .filter(|name| full || !name.contains('/'))
        .collect();
    let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| {
            let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
            ellipsis(name, width(MOUNT_WIDTH))
        })
        .collect();
    let volumes = container.mounts.iter().filter(|mount| mount.driver == "local").count();
    let networks: Vec<&str> = container.network_settings.networks.keys().map(String::as_str).collect();
    let mut row = Row::new([
        ("ID", cut(&container.id, width(ID_WIDTH)).into()),
        ("Image", image(container, full).into()),
        ("Command", format!("\"{}\"", ellipsis(&container.command, width(COMMAND_WIDTH))).into()),
        ("CreatedAt", absolute(container.created).into()),
        ("RunningFor", ago(container.created).into()),
        ("Status", container.status.as_str().into()),
        ("State", container.state.as_str().into()),
        ("Ports", ports_column::show(&container.ports).into()),
        ("Names", names.join(",").into()),
        ("Size", size(container).into()),
        ("Labels", labels.join(",").into()),
        ("Mounts", mounts.join(",").into()),
        ("LocalVolumes", volumes.to_string().into()),
        ("Networks", networks.join(",").into()),
        ("Platform", Value::Null),
    ]);
    row.labels = container.labels.clone();
    row
}

fn image(container: &Summary, full: bool) -> String {
    if container.image.is_empty() {
        return "<no image>".into();
    }
    if full {
        return container.image.clone();
    }
    match container.image.strip_prefix("sha256:") {
        Some(digest) => cut(digest, ID_WIDTH),
        None => familiar(&container.image).to_owned(),
    }
}

fn size(container: &Summary) -> String {
    let own = decimal_with(container.size_rw.unwrap_or(0) as f64, 3);
    match container.size_root_fs {
        Some(all) if all > 0 => format!("{own} (virtual {})", decimal_with(all as f64, 3)),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_docker_api::types::container::Port;

    #[test]
    fn the_table() {
        let container = Summary {
            id: "0123456789abcdef".into(),
            names: vec!["/web".into(), "/other/link".into()],
            image: "nginx".into(),
            command: "/docker-entrypoint.sh nginx".into(),
            created: crate::format::time::now() - 7200,
            status: "Up 2 hours".into(),
            ports: vec![Port {
                ip: "0.0.0.0".into(),
                private_port: 80,
                public_port: 8080,
                kind: "tcp".into(),
            }],
            ..Summary::default()
        };
        let text = PLAIN.show(&[row(&container, false)], None).unwrap();
        assert_eq!(
            text,
            "CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS       PORTS                  NAMES\n\
             0123456789ab   nginx     \"/docker-entrypoint.…\"   2 hours ago   Up 2 hours   0.0.0.0:8080->80/tcp   web\n"
        );
    }
}
