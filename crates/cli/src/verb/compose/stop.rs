//! `compose stop`.

use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;
use wharf_compose::plan::Observed;

/// Flags of `compose stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds to wait before killing
    #[arg(short = 't', long, value_name = "int")]
    timeout: Option<i64>,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?.titled("Stopping");
    work.check(&options.services)?;
    let run = work.run(context);
    let mut found = run.of_services(&options.services).await?;
    found.retain(Observed::is_alive);
    run.stop_services(&found, options.timeout).await?;
    Ok(0)
}
