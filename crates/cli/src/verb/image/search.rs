//! `search`.

use super::distribution;
use crate::config::registry_auth;
use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row, ellipsis, pairs};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::SearchResult;

/// Flags of `search`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what matches, as key=value
    #[arg(short = 'f', long, value_name = "filter")]
    filter: Vec<String>,
    /// Show with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// How many results at most
    #[arg(long, value_name = "int")]
    limit: Option<u32>,
    /// Show the tags of the repository that TERM names
    #[arg(long, conflicts_with = "filter")]
    list_tags: bool,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "TERM", required = true, hide = true)]
    term: String,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
        ("IsAutomated", "AUTOMATED"),
    ],
    table: &["Name", "Description", "StarCount", "IsOfficial"],
};

/// Characters of a description that are shown.
const DESCRIPTION_WIDTH: usize = 45;

const TAGS: Listing = Listing { columns: &[("Name", "NAME"), ("Tag", "TAG")], table: &["Name", "Tag"] };

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tags {
    name: String,
    tags: Vec<String>,
}

async fn list_tags(context: &Context, options: &Options) -> Outcome {
    let auth = registry_auth(&context.config()?, &options.term)?;
    let call = Call::get(distribution(&options.term, "/tags")).header("x-registry-auth", &auth)?;
    let found: Tags = context.client.json(call).await?;
    let most = options.limit.map_or(usize::MAX, |limit| limit as usize);
    let row = |tag: &String| Row::new([("Name", found.name.as_str().into()), ("Tag", tag.as_str().into())]);
    let rows: Vec<Row> = found.tags.iter().take(most).map(row).collect();
    print(TAGS.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.list_tags {
        return list_tags(context, &options).await;
    }
    let query = Query::new()
        .with("term", &options.term)
        .maybe("limit", options.limit)
        .filters(pairs(&options.filter)?);
    let auth = registry_auth(&context.config()?, &options.term)?;
    let call = Call::get("/images/search").query(query).header("x-registry-auth", &auth)?;
    let results: Vec<SearchResult> = context.client.json(call).await?;
    let mark = |yes: bool| if yes { "[OK]" } else { "" };
    let width = if options.no_trunc { usize::MAX } else { DESCRIPTION_WIDTH };
    let rows: Vec<Row> = results
        .iter()
        .map(|result| {
            Row::new([
                ("Name", result.name.as_str().into()),
                ("Description", ellipsis(&result.description.replace('\n', " "), width).into()),
                ("StarCount", result.star_count.to_string().into()),
                ("IsOfficial", mark(result.is_official).into()),
                ("IsAutomated", mark(result.is_automated).into()),
            ])
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
