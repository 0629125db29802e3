//! `--wait` of `run` and `start`: until the container is healthy.

use super::path;
use crate::context::Context;
use crate::failure::{FAILED, Failure, Outcome};
use std::time::Duration;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::WaitResponse;

/// Whether and how long to wait.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Patience {
    /// Wait until the container is healthy, or runs if it has no health check
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "seconds", requires = "wait")]
    wait_timeout: Option<u64>,
}

impl Patience {
    pub(crate) fn is_wanted(&self) -> bool {
        self.wait
    }

    /// Waits, if that was asked for. A container that ends or becomes unhealthy is a failure.
    pub(crate) async fn until_healthy(&self, context: &Context, container: &str) -> Outcome {
        if !self.wait {
            return Ok(0);
        }
        let call = Call::post(path(container, "/wait")).query(Query::new().with("condition", "healthy"));
        let waiting = async { context.client.stream(call).await?.json::<WaitResponse>().next().await };
        let answer = match self.wait_timeout {
            None => waiting.await?,
            Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), waiting).await {
                Ok(answer) => answer?,
                Err(_) => {
                    let message = format!("container {container} was not healthy within {seconds} s");
                    return Err(Failure::new(message));
                }
            },
        };
        match answer {
            Some(WaitResponse { error: None, .. }) => Ok(0),
            Some(WaitResponse { error: Some(error), .. }) => Err(Failure::with_status(FAILED, error.message)),
            None => Err(Failure::new("the engine stopped before the container was healthy")),
        }
    }
}
