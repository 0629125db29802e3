//! `compose pause`.

use super::lifecycle::each;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;
use wharf_compose::plan::Observed;
use wharf_compose::run::container;
use wharf_docker_api::client::Call;

/// Flags of `compose pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?.titled("Pausing");
    let call = |one: &Observed| Call::post(container(&one.id, "/pause"));
    each(&work, context, &options.services, &["running"], ("Pausing", "Paused"), call).await?;
    Ok(0)
}
