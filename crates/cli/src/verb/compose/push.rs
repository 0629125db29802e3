//! `compose push`.

use super::work::Work;
use crate::context::{Context, note};
use crate::failure::Outcome;
use wharf_compose::run::report::{Report, Status};

/// Flags of `compose push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Go on when one cannot be sent
    #[arg(long)]
    ignore_push_failures: bool,
    /// Images of what services need, too
    #[arg(long)]
    include_deps: bool,
    /// Print nothing
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut work = Work::load(context)?.titled("Pushing");
    work.select(&options.services, options.include_deps)?;
    if options.quiet {
        work.screen = work.screen.quiet();
    }
    let run = work.run(context);
    for (name, service) in &work.loaded.project.services {
        if service.build.is_none() || service.image.is_empty() {
            work.screen.step(name, "Skipped", Status::Warning);
            continue;
        }
        let tags = service.build.iter().flat_map(|build| &build.tags);
        for image in std::iter::once(&service.image).chain(tags) {
            match run.push(name, image, options.quiet).await {
                Err(error) if options.ignore_push_failures => note(error),
                done => done?,
            }
        }
    }
    Ok(0)
}
