//! `compose rm`.

use super::work::Work;
use crate::context::{Context, confirm, note};
use crate::failure::Outcome;
use wharf_compose::plan::Observed;

/// Flags of `compose rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Without effect: one-off containers are removed with the project
    #[arg(short = 'a', long, hide = true)]
    all: bool,
    /// Do not ask
    #[arg(short = 'f', long)]
    force: bool,
    /// Stop containers that run first
    #[arg(short = 's', long)]
    stop: bool,
    /// Remove their anonymous volumes
    #[arg(short = 'v', long)]
    volumes: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?.titled("Removing");
    work.check(&options.services)?;
    let run = work.run(context);
    let mut found: Vec<Observed> = run.of_services(&options.services).await?;
    if options.stop {
        let running: Vec<Observed> = found.iter().filter(|one| one.is_alive()).cloned().collect();
        run.stop_services(&running, None).await?;
    } else {
        found.retain(|one| !one.is_alive());
    }
    if found.is_empty() {
        note("No stopped containers");
        return Ok(0);
    }
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    if !options.force && !confirm(&format!("? Going to remove {}", names.join(", ")))? {
        return Ok(0);
    }
    run.remove_all(&found, options.volumes).await?;
    Ok(0)
}
