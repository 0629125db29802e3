//! `compose commit`.

use super::delegate;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `compose commit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Who made it
    #[arg(short = 'a', long, value_name = "string")]
    author: Option<String>,
    /// Apply a Dockerfile instruction
    #[arg(short = 'c', long, value_name = "list")]
    change: Vec<String>,
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    /// What it is
    #[arg(short = 'm', long, value_name = "string")]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short = 'p', long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    pause: bool,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    service: String,
    #[arg(value_name = "REPOSITORY", hide = true)]
    name: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    let one = work.container(context, &options.service, options.index).await?;
    let mut words = vec![format!("--pause={}", options.pause)];
    for (flag, value) in [("--author", options.author), ("--message", options.message)] {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value]);
        }
    }
    for change in options.change {
        words.extend(["--change".to_owned(), change]);
    }
    words.push(one.id);
    words.extend(options.name);
    delegate::call(context, "commit", words).await
}
