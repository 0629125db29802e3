//! `wait`.

use super::path;
use crate::context::{Context, each};
use crate::failure::{Failure, Outcome};
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::WaitResponse;

/// Flags of `wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    each(&options.containers, async |name| {
        let ended: WaitResponse = context.client.json(Call::post(path(name, "/wait"))).await?;
        match ended.error {
            Some(error) => Err(Failure::new(error.message)),
            None => Ok(ended.status_code.to_string()),
        }
    })
    .await
}
