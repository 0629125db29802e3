//! `compose start`.

use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use std::time::Duration;
use wharf_compose::run::up;

/// Flags of `compose start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Until containers run, and are healthy where that is known
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "int")]
    wait_timeout: Option<u64>,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut work = Work::known(context).await?;
    work.check(&options.services)?;
    work.select(&options.services, true)?;
    let run = work.run(context);
    if run.of_services(&[]).await?.is_empty() {
        return Err(Failure::new(
            "no container found for project \"".to_owned() + &work.loaded.project.name + "\": not found",
        ));
    }
    let wait = up::Options {
        wait: options.wait,
        wait_timeout: options.wait_timeout.map(Duration::from_secs),
        ..up::Options::default()
    };
    run.start_services(&wait).await?;
    Ok(0)
}
