//! `volume rename`.

use super::path;
use crate::context::Context;
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query};

/// Flags of `volume rename`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "VOLUME", required = true, hide = true)]
    volume: String,
    #[arg(value_name = "NEW_NAME", required = true, hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().with("name", &options.name);
    context.client.done(Call::post(path(&options.volume, "/rename")).query(query)).await?;
    Ok(0)
}
