//! `compose kill`.

use super::lifecycle::each;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;
use wharf_compose::plan::{ALIVE, Observed};
use wharf_compose::run::container;
use wharf_docker_api::client::{Call, Query};

/// Flags of `compose kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// The signal
    #[arg(short = 's', long, value_name = "string", default_value = "SIGKILL")]
    signal: String,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?.titled("Killing");
    let call = |one: &Observed| {
        Call::post(container(&one.id, "/kill")).query(Query::new().with("signal", &options.signal))
    };
    if each(&work, context, &options.services, &ALIVE, ("Killing", "Killed"), call).await? == 0 {
        crate::context::note("no container to kill");
    }
    if options.remove_orphans {
        work.run(context).remove_orphans().await?;
    }
    Ok(0)
}
