//! `logs`.

use super::path;
use crate::context::Context;
use crate::failure::Outcome;
use crate::parse::duration::moment;
use crate::stream::output::Output;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::Inspect;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show the attributes of the log driver too
    #[arg(long)]
    details: bool,
    /// Go on with new output
    #[arg(short = 'f', long)]
    follow: bool,
    /// From then on: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// How many of the last lines
    #[arg(short = 'n', long, visible_alias = "lines", value_name = "string", default_value = "all")]
    tail: String,
    /// Begin each line with its time
    #[arg(short = 't', long)]
    timestamps: bool,
    /// Until then: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new()
        .with("stdout", 1)
        .with("stderr", 1)
        .flag("details", options.details)
        .flag("follow", options.follow)
        .flag("timestamps", options.timestamps)
        .maybe("since", moment(&options.since)?)
        .maybe("until", moment(&options.until)?)
        .with("tail", &options.tail);
    let stream = context.client.stream(Call::get(path(&options.container, "/logs")).query(query)).await?;
    let multiplexed = match stream.multiplexed() {
        Some(multiplexed) => multiplexed,
        // Engines before API 1.42 do not say.
        None => {
            let container: Inspect =
                context.client.json(Call::get(path(&options.container, "/json"))).await?;
            !container.config.tty
        }
    };
    Output::new(multiplexed, true, true).copy(stream).await?;
    Ok(0)
}
