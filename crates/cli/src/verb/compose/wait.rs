//! `compose wait`.

use super::work::Work;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use futures_util::stream::{FuturesUnordered, StreamExt};
use wharf_compose::run::{container, down};
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::WaitResponse;

/// Flags of `compose wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Take the project down when the first one ends
    #[arg(long)]
    down_project: bool,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    work.check(&options.services)?;
    let run = work.run(context);
    let found = run.of_services(&options.services).await?;
    if found.is_empty() {
        return Err(Failure::new(format!("no containers for project {:?}", work.loaded.project.name)));
    }
    let mut ends: FuturesUnordered<_> = found
        .iter()
        .map(async |one| {
            let ended: WaitResponse = context.client.json(Call::post(container(&one.id, "/wait"))).await?;
            Ok::<_, Failure>((one, i32::try_from(ended.status_code).unwrap_or(1)))
        })
        .collect();
    let mut status = 0;
    while let Some(ended) = ends.next().await {
        let (one, code) = ended?;
        line(format!("container {:?} exited with status code {code}", one.name))?;
        status = code;
        if options.down_project {
            run.down(&down::Options { has_files: work.has_files, ..down::Options::default() }).await?;
            break;
        }
    }
    Ok(status)
}
