//! `history`.

use super::path;
use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row};
use crate::format::size::decimal;
use crate::format::time::{ago, rfc3339_nanos};
use crate::verb::system::inspect::short_id;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::History;

/// Flags of `history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show sizes and ages as people read them
    #[arg(short = 'H', long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    human: bool,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    /// Only if it is for this platform, such as linux/amd64
    #[arg(long, value_name = "string", value_parser = crate::parse::platform::platform)]
    platform: Option<String>,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "IMAGE", required = true, hide = true)]
    image: String,
}

const LISTING: Listing = Listing {
    columns: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    table: &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
};

/// Characters of a command that are shown.
const COMMAND_WIDTH: usize = 45;

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().maybe("platform", options.platform.as_ref());
    let call = Call::get(path(&options.image, "/history")).query(query);
    let history: Vec<History> = context.client.json(call).await?;
    let id = |layer: &History| if options.no_trunc { layer.id.clone() } else { short_id(&layer.id) };
    if options.quiet {
        print(history.iter().map(|layer| id(layer) + "\n").collect::<String>())?;
        return Ok(0);
    }
    let rows: Vec<Row> = history
        .iter()
        .map(|layer| {
            let command = layer.created_by.replace('\t', " ");
            let width = if options.no_trunc { usize::MAX } else { COMMAND_WIDTH };
            let created_at =
                rfc3339_nanos(layer.created.saturating_mul(1_000_000_000)).replace(".000000000", "");
            let since = if options.human { ago(layer.created) } else { created_at.clone() };
            let size = if options.human { decimal(layer.size) } else { layer.size.to_string() };
            Row::new([
                ("ID", id(layer).into()),
                ("CreatedSince", since.into()),
                ("CreatedAt", created_at.into()),
                ("CreatedBy", crate::format::list::ellipsis(&command, width).into()),
                ("Size", size.into()),
                ("Comment", layer.comment.as_str().into()),
            ])
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
