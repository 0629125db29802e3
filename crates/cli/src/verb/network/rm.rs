//! `network rm`.

use super::path;
use crate::context::{Context, each, note};
use crate::failure::Outcome;
use wharf_docker_api::client::Call;

/// Flags of `network rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is not there is no failure
    #[arg(short = 'f', long)]
    force: bool,
    #[arg(value_name = "NETWORK", required = true, hide = true)]
    networks: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    each(&options.networks, async |name| match context.client.done(Call::delete(path(name, ""))).await {
        Err(error) if options.force && error.is_not_found() => {
            note(error);
            Ok(None)
        }
        result => {
            result?;
            Ok(Some(name.to_owned()))
        }
    })
    .await
}
