//! `compose cp`.

use super::delegate;
use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use wharf_compose::plan::Observed;
use wharf_compose::run::state;

/// Flags of `compose cp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// To containers of `run`, too
    #[arg(long)]
    all: bool,
    /// Keep the owners of files
    #[arg(short = 'a', long)]
    archive: bool,
    /// Copy what a link at the source points to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    #[arg(value_name = "SOURCE", required = true, hide = true)]
    source: String,
    #[arg(value_name = "DESTINATION", required = true, hide = true)]
    destination: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?.titled("Copying");
    let (from, to) = (side(&options.source), side(&options.destination));
    let mut words = Vec::new();
    for (on, flag) in
        [(options.archive, "--archive"), (options.follow_link, "--follow-link"), (true, "--quiet")]
    {
        if on {
            words.push(flag.to_owned());
        }
    }
    words.push("--".to_owned());
    match (from, to) {
        (Some((service, path)), None) => {
            let one = work.container(context, service, options.index).await?;
            words.extend([format!("{}:{path}", one.id), options.destination.clone()]);
            delegate::call(context, "cp", words).await
        }
        (None, Some((service, path))) => {
            work.check(&[service.to_owned()])?;
            // Into each of the service's containers.
            let all = state::containers(&context.client, &work.loaded.project.name).await?;
            let wanted = |one: &&Observed| {
                one.service() == service
                    && (options.all || !one.is_one_off())
                    && (options.index == 0 || one.number() == options.index)
            };
            let found: Vec<&Observed> = all.iter().filter(wanted).collect();
            if found.is_empty() {
                return Err(Failure::new(format!("no container found for service {service:?}")));
            }
            for one in found {
                let mut words = words.clone();
                words.extend([options.source.clone(), format!("{}:{path}", one.id)]);
                delegate::call(context, "cp", words).await?;
            }
            Ok(0)
        }
        (Some(_), Some(_)) => Err(Failure::new("copying between services is not supported")),
        (None, None) => Err(Failure::new("unknown copy direction")),
    }
}

/// Service and path of `service:path`; none for a path of this machine.
fn side(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) || text == "-" {
        return None;
    }
    text.split_once(':').filter(|(service, _)| !service.is_empty())
}
