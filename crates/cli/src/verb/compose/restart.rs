//! `compose restart`.

use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `compose restart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Not the services that need them
    #[arg(long)]
    no_deps: bool,
    /// Seconds to wait before killing
    #[arg(short = 't', long, value_name = "int")]
    timeout: Option<i64>,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?.titled("Restarting");
    work.check(&options.services)?;
    let mut services = options.services.clone();
    if !options.no_deps {
        for (name, service) in &work.loaded.project.services {
            let needs = |(needed, how): (&String, &wharf_compose::project::service::Dependency)| {
                how.restart && options.services.contains(needed)
            };
            if service.depends_on.iter().any(needs) && !services.contains(name) {
                services.push(name.clone());
            }
        }
    }
    work.run(context).restart_services(&services, options.timeout).await?;
    Ok(0)
}
