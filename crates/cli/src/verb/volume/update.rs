//! `volume update`, which Docker has for volumes of a swarm alone.

use super::path;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use wharf_docker_api::client::Call;
use wharf_docker_api::types::volume::Volume;

/// Flags of `volume update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Of a volume in a swarm
    #[arg(long, value_name = "string", hide = true)]
    availability: Option<String>,
    #[arg(value_name = "VOLUME", required = true, hide = true)]
    volume: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    // A name that is not there is the other mistake.
    let _: Volume = context.client.json(Call::get(path(&options.volume, ""))).await?;
    Err(Failure::new("can only update cluster volumes"))
}
