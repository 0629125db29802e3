//! `compose top`.

use super::work::Work;
use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::table::align;
use wharf_compose::run::container;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::TopResponse;

/// Flags of `compose top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "SERVICES", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    work.check(&options.services)?;
    let mut lines = Vec::new();
    for one in work.run(context).of_services(&options.services).await?.iter().filter(|one| one.is_running()) {
        let top: TopResponse = context.client.json(Call::get(container(&one.id, "/top"))).await?;
        if lines.is_empty() {
            lines.push(format!("SERVICE\t#\t{}", top.titles.join("\t")));
        }
        for process in &top.processes {
            lines.push(format!("{}\t{}\t{}", one.service(), one.number(), process.join("\t")));
        }
    }
    print(align(&lines))?;
    Ok(0)
}
