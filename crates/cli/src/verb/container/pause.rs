//! `pause`.

use super::path;
use crate::context::{Context, each};
use crate::failure::Outcome;
use wharf_docker_api::client::Call;

/// Flags of `pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    ask(context, options, "/pause").await
}

/// Posts to an endpoint of each container that takes nothing else.
pub(super) async fn ask(context: &Context, options: Options, endpoint: &str) -> Outcome {
    each(&options.containers, async |name| {
        context.client.done(Call::post(path(name, endpoint))).await?;
        Ok(name.to_owned())
    })
    .await
}
