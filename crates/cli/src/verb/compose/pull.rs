//! `compose pull`.

use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use std::collections::BTreeMap;
use wharf_compose::run::report::{Report, Status};

/// Flags of `compose pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Go on when one cannot be fetched
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Images of what services need, too
    #[arg(long)]
    include_deps: bool,
    /// When to fetch: missing or always
    #[arg(long, value_name = "string")]
    policy: Option<String>,
    /// Print nothing
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let missing_only = match options.policy.as_deref() {
        None | Some("always") => false,
        Some("missing") => true,
        Some(other) => {
            return Err(Failure::new(format!("unsupported pull policy {other:?}: missing or always")));
        }
    };
    let mut work = Work::load(context)?.titled("Pulling");
    work.select(&options.services, options.include_deps)?;
    if options.quiet {
        work.screen = work.screen.quiet();
    }
    let run = work.run(context);
    let mut wanted: BTreeMap<String, (&str, bool, &str)> = BTreeMap::new();
    for (name, service) in &work.loaded.project.services {
        let skip = match () {
            () if service.image.is_empty() => Some("No image to be pulled"),
            () if service.build.is_some() && options.ignore_buildable => Some("Image can be built"),
            () if service.pull_policy == "never" || service.pull_policy == "build" => {
                Some("Pull policy says not to")
            }
            () if missing_only && run.image(&service.image).await?.is_some() => {
                Some("Image is already present locally")
            }
            () => None,
        };
        match skip {
            Some(why) => work.screen.step(name, &format!("Skipped {why}"), Status::Warning),
            None => {
                wanted.insert(service.image.clone(), (name, service.build.is_some(), &service.platform));
            }
        }
    }
    let pulls = wanted.iter().map(async |(image, (name, can_build, platform))| {
        work.screen.step(name, "Pulling", Status::Working);
        let done = run.pull(name, image, platform, options.quiet).await;
        match &done {
            Ok(()) => work.screen.step(name, "Pulled", Status::Done),
            Err(error) => work.screen.step(name, &format!("Error {error}"), Status::Failed),
        }
        // What can be built need not be anywhere.
        done.or_else(|error| if *can_build || options.ignore_pull_failures { Ok(()) } else { Err(error) })
    });
    for done in futures_util::future::join_all(pulls).await {
        done?;
    }
    Ok(0)
}
