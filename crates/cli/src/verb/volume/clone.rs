//! `volume clone`.

use super::path;
use crate::context::{Context, line};
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::volume::Volume;

/// Flags of `volume clone`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "SOURCE", required = true, hide = true)]
    source: String,
    #[arg(value_name = "TARGET", required = true, hide = true)]
    target: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let query = Query::new().with("name", &options.target);
    let made: Volume = context.client.json(Call::post(path(&options.source, "/clone")).query(query)).await?;
    line(made.name)?;
    Ok(0)
}
