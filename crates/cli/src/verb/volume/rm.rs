//! `volume rm`.

use crate::context::{Context, each};
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query, segment};

/// Flags of `volume rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Remove it even when its driver fails
    #[arg(short = 'f', long)]
    force: bool,
    #[arg(value_name = "VOLUME", required = true, hide = true)]
    volumes: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    each(&options.volumes, async |name| {
        let call = Call::delete(format!("/volumes/{}", segment(name)));
        context.client.done(call.query(Query::new().flag("force", options.force))).await?;
        Ok(name.to_owned())
    })
    .await
}
