//! `compose images`.

use super::work::Work;
use crate::context::{Context, line, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row, cut};
use crate::format::size::decimal_with;
use crate::format::time::{ago, parse};
use serde_json::{Value, json};
use wharf_compose::plan::label;
use wharf_compose::run::images::reference;
use wharf_compose::run::state;

/// Flags of `compose images`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show as table or json
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show ids alone
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Container", "CONTAINER"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Platform", "PLATFORM"),
        ("ID", "IMAGE ID"),
        ("Size", "SIZE"),
        ("Created", "CREATED"),
    ],
    table: &["Container", "Repository", "Tag", "Platform", "ID", "Size", "Created"],
};

/// Characters of an image's id that are shown.
const ID_WIDTH: usize = 12;

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    work.check(&options.services)?;
    let run = work.run(context);
    let mut rows: Vec<(Row, Value)> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for one in state::summaries(&context.client, &work.loaded.project.name).await? {
        let service = one.labels.get(label::SERVICE).cloned().unwrap_or_default();
        if !options.services.is_empty() && !options.services.contains(&service) {
            continue;
        }
        let Some(image) = run.image(&one.image_id).await? else { continue };
        let name = one.names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default();
        let (repository, tag) = reference(&one.image);
        let platform = format!("{}/{}", image.os, image.architecture);
        let created = parse(&image.created).map(ago).unwrap_or_default();
        let id = image.id.trim_start_matches("sha256:");
        ids.push(id.to_owned());
        rows.push((
            Row::new([
                ("Container", name.as_str().into()),
                ("Repository", repository.into()),
                ("Tag", tag.into()),
                ("Platform", platform.as_str().into()),
                ("ID", cut(id, ID_WIDTH).into()),
                ("Size", decimal_with(image.size as f64, 3).into()),
                ("Created", created.into()),
            ]),
            json!({"ID": image.id, "ContainerName": name, "Repository": repository, "Tag": tag, "Platform": platform, "Size": image.size, "Created": image.created}),
        ));
    }
    if options.quiet {
        ids.sort();
        ids.dedup();
        ids.iter().try_for_each(line)?;
        return Ok(0);
    }
    if options.format.as_deref() == Some("json") {
        let all: Vec<Value> = rows.into_iter().map(|(_, value)| value).collect();
        line(Value::Array(all))?;
        return Ok(0);
    }
    let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
