//! `rmi`.

use super::path;
use crate::context::{Context, each, line, note};
use crate::failure::Outcome;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::DeleteResponse;

/// Flags of `rmi`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Remove it even when stopped containers use it
    #[arg(short = 'f', long)]
    force: bool,
    /// Keep parents that have no name
    #[arg(long)]
    no_prune: bool,
    /// Only this platform of the image
    #[arg(long, value_name = "list")]
    platform: Vec<String>,
    #[arg(value_name = "IMAGE", required = true, hide = true)]
    images: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    each(&options.images, async |name| {
        let mut query = Query::new().flag("force", options.force).flag("noprune", options.no_prune);
        for platform in &options.platform {
            query = query.with("platforms", platform);
        }
        let call = Call::delete(path(name, "")).query(query);
        let deleted: Vec<DeleteResponse> = match context.client.json(call).await {
            Err(error) if options.force && error.is_not_found() => {
                note(error);
                return Ok(None);
            }
            result => result?,
        };
        for one in deleted {
            line(said(&one))?;
        }
        Ok(None::<String>)
    })
    .await
}

/// `Untagged: …` or `Deleted: …`.
pub(crate) fn said(deleted: &DeleteResponse) -> String {
    if deleted.deleted.is_empty() {
        format!("Untagged: {}", deleted.untagged)
    } else {
        format!("Deleted: {}", deleted.deleted)
    }
}
