//! `stop`.

use super::path;
use crate::context::{Context, each};
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query};

/// Flags of `stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Signal to send
    #[arg(short = 's', long, value_name = "string")]
    signal: Option<String>,
    /// Seconds from asking to killing
    #[arg(short = 't', long, visible_alias = "time", value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    ask(context, options, "/stop").await
}

/// Posts to an endpoint of each container that takes a signal and a timeout.
pub(super) async fn ask(context: &Context, options: Options, endpoint: &str) -> Outcome {
    each(&options.containers, async |name| {
        let query = Query::new().maybe("signal", options.signal.as_ref()).maybe("t", options.timeout);
        context.client.done(Call::post(path(name, endpoint)).query(query)).await?;
        Ok(name.to_owned())
    })
    .await
}
