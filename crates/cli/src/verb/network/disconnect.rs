//! `network disconnect`.

use super::path;
use crate::context::Context;
use crate::failure::Outcome;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::network::DisconnectRequest;

/// Flags of `network disconnect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Even when the container is gone
    #[arg(short = 'f', long)]
    force: bool,
    #[arg(value_name = "NETWORK", required = true, hide = true)]
    network: String,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let request = DisconnectRequest { container: options.container, force: options.force };
    context.client.done(Call::post(path(&options.network, "/disconnect")).json(&request)?).await?;
    Ok(0)
}
