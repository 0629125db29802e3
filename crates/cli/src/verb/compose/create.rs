//! `compose create`.

use super::flags::Making;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `compose create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    making: Making,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut work = Work::load(context)?;
    work.select(&options.services, true)?;
    options.making.scale(&mut work.loaded.project)?;
    work.prune();
    let mut up = options.making.options(&options.services)?;
    up.no_start = true;
    work.screen = work.screen.with(false, false, options.making.yes).titled("Creating");
    work.run(context).up(&up).await?;
    Ok(0)
}
