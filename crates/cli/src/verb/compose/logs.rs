//! `compose logs`.

use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::parse::duration::moment;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use wharf_compose::plan::{Observed, label};
use wharf_compose::run::logs;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::system::Event;

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
        since: moment(&options.since)?,
        until: moment(&options.until)?,
        timestamps: options.timestamps,
    };
    if !options.follow {
        // One after the other: the lines of each together, in the order of the names.
        for one in &found {
            run.logs(one, &wanted).await?;
        }
        return Ok(0);
    }
    follow(context, &work, &found, &wanted, &options.services).await
}

/// Follows what runs, and what is started again or anew meanwhile, until nothing runs any more.
async fn follow(
    context: &Context,
    work: &Work,
    found: &[Observed],
    wanted: &logs::Options,
    services: &[String],
) -> Outcome {
    let run = work.run(context);
    let of = format!("{}={}", label::PROJECT, work.loaded.project.name);
    let query = Query::new().filters([("type", "container"), ("label", of.as_str())]);
    let mut events = context.client.stream(Call::get("/events").query(query)).await?.json::<Event>();
    let one_log = |one: Observed, options: logs::Options| async move { run.logs(&one, &options).await };
    let mut tasks: FuturesUnordered<_> =
        found.iter().map(|one| one_log(one.clone(), wanted.clone())).collect();
    let mut ended: BTreeMap<String, String> = BTreeMap::new();
    loop {
        tokio::select! {
            done = tasks.next() => match done {
                Some(done) => done?,
                None => return Ok(0),
            },
            event = events.next() => {
                let Some(event) = event? else { return Ok(0) };
                let labels = event.actor.attributes;
                let service = labels.get(label::SERVICE).cloned().unwrap_or_default();
                if labels.get(label::ONE_OFF).is_some_and(|on| on == "True") || !(services.is_empty() || services.contains(&service)) {
                    continue;
                }
                let id = event.actor.id;
                match event.action.as_str() {
                    "die" => {
                        let at = format!("{}.{:09}", event.time_nano / 1_000_000_000, event.time_nano % 1_000_000_000);
                        ended.insert(id, at);
                    }
                    "start" => {
                        // All of a new one; of one that was here before, what it writes in its new life.
                        let known = found.iter().any(|one| one.id == id);
                        let since = ended.remove(&id);
                        if known && since.is_none() {
                            continue;
                        }
                        let name = labels.get("name").cloned().unwrap_or_default();
                        let one = Observed { id, name, labels, ..Observed::default() };
                        tasks.push(one_log(one, logs::Options { since, tail: "all".into(), ..wanted.clone() }));
                    }
                    _ => {}
                }
            }
        }
    }
}
