//! `compose logs`.

use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::format::time::now;
use crate::parse::duration::timestamp;
use wharf_compose::plan::Observed;
use wharf_compose::run::logs;

/// Flags of `compose logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Go on with new output
    #[arg(short = 'f', long)]
    follow: bool,
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    /// Without colours
    #[arg(long)]
    no_color: bool,
    /// Without names before lines
    #[arg(long)]
    no_log_prefix: bool,
    /// From then on: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// How many of the last lines of each container
    #[arg(short = 'n', long, value_name = "string", default_value = "all")]
    tail: String,
    /// Begin each line with its time
    #[arg(short = 't', long)]
    timestamps: bool,
    /// Until then: a time, or an age such as 10m
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let when = |text: &Option<String>| {
        text.as_ref().map(|text| timestamp(text, now())).transpose().map_err(Failure::new)
    };
    if options.index > 0 && options.services.len() != 1 {
        return Err(Failure::new("--index requires one service to be selected"));
    }
    let mut work = Work::known(context).await?;
    work.check(&options.services)?;
    work.screen = work.screen.with(options.no_color, options.no_log_prefix, false);
    let run = work.run(context);
    let mut found = run.of_services(&options.services).await?;
    found.retain(|one| options.index == 0 || one.number() == options.index);
    let names: Vec<String> = found.iter().map(Observed::short_name).collect();
    work.screen.sources(names.iter().map(String::as_str));
    let wanted = logs::Options {
        follow: options.follow,
        tail: options.tail.clone(),
        since: when(&options.since)?,
        until: when(&options.until)?,
        timestamps: options.timestamps,
    };
    if !options.follow {
        // One after the other: the lines of each together, in the order of the names.
        for one in &found {
            run.logs(one, &wanted).await?;
        }
        return Ok(0);
    }
    let followed = futures_util::future::join_all(found.iter().map(|one| run.logs(one, &wanted))).await;
    followed.into_iter().collect::<Result<(), _>>()?;
    Ok(0)
}
