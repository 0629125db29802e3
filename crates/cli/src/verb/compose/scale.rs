//! `compose scale`.

use super::flags;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;
use wharf_compose::run::up;

/// Flags of `compose scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not start what services need
    #[arg(long)]
    no_deps: bool,
    #[arg(value_name = "SERVICE=REPLICAS", required = true, hide = true)]
    pairs: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut work = Work::load(context)?;
    let names: Vec<String> =
        options.pairs.iter().filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
    work.select(&names, !options.no_deps)?;
    flags::scale(&mut work.loaded.project, &options.pairs)?;
    work.prune();
    let up = up::Options { services: names, ignore_orphans: true, ..up::Options::default() };
    work.run(context).up(&up).await?;
    Ok(0)
}
