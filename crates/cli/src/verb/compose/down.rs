//! `compose down`.

use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use wharf_compose::run::down;

/// Flags of `compose down`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images: all, or local for those without a name of their own
    #[arg(long, value_name = "string")]
    rmi: Option<String>,
    /// Seconds to wait before killing
    #[arg(short = 't', long, value_name = "int")]
    timeout: Option<i64>,
    /// Remove volumes, too
    #[arg(short = 'v', long)]
    volumes: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let images = options.rmi.unwrap_or_default();
    if !["", "all", "local"].contains(&images.as_str()) {
        return Err(Failure::new(format!("invalid value for --rmi: {images:?}")));
    }
    let work = Work::known(context).await?;
    work.check(&options.services)?;
    let down = down::Options {
        orphans: options.remove_orphans,
        volumes: options.volumes,
        images,
        timeout: options.timeout,
        services: options.services,
        has_files: work.has_files,
    };
    work.run(context).down(&down).await?;
    Ok(0)
}
