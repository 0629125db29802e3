//! `kill`.

use super::path;
use crate::context::{Context, each};
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query};

/// Flags of `kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Signal to send
    #[arg(short = 's', long, value_name = "string")]
    signal: Option<String>,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    each(&options.containers, async |name| {
        let query = Query::new().maybe("signal", options.signal.as_ref());
        context.client.done(Call::post(path(name, "/kill")).query(query)).await?;
        Ok(name.to_owned())
    })
    .await
}
