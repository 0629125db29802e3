//! `rm`.

use super::path;
use crate::context::{Context, each};
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query};

/// Flags of `rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kill it first if it runs
    #[arg(short = 'f', long)]
    force: bool,
    /// Remove a link between containers
    #[arg(short = 'l', long)]
    link: bool,
    /// Remove its nameless volumes too
    #[arg(short = 'v', long)]
    volumes: bool,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    each(&options.containers, async |name| {
        let query =
            Query::new().flag("force", options.force).flag("link", options.link).flag("v", options.volumes);
        match context.client.done(Call::delete(path(name, "")).query(query)).await {
            // With --force what is not there is as good as removed, but it is said.
            Err(error) if options.force && error.is_not_found() => {
                crate::context::note(error);
                Ok(None)
            }
            result => {
                result?;
                Ok(Some(name.to_owned()))
            }
        }
    })
    .await
}
