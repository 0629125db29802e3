//! `compose stats`.

use super::delegate;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `compose stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of them, not the running alone
    #[arg(short = 'a', long)]
    all: bool,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show once and end
    #[arg(long)]
    no_stream: bool,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    service: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    let services: Vec<String> = options.service.into_iter().collect();
    work.check(&services)?;
    let mut words = Vec::new();
    for (on, flag) in
        [(options.all, "--all"), (options.no_stream, "--no-stream"), (options.no_trunc, "--no-trunc")]
    {
        if on {
            words.push(flag.to_owned());
        }
    }
    if let Some(format) = options.format {
        words.extend(["--format".to_owned(), format]);
    }
    let found = work.run(context).of_services(&services).await?;
    let ids: Vec<String> =
        found.into_iter().filter(|one| options.all || one.is_running()).map(|one| one.id).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    words.extend(ids);
    delegate::call(context, "stats", words).await
}
