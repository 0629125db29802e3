//! `compose export`.

use super::delegate;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `compose export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    /// Write to a file
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    service: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    let one = work.container(context, &options.service, options.index).await?;
    let mut words = Vec::new();
    if let Some(output) = options.output {
        words.extend(["--output".to_owned(), output]);
    }
    words.push(one.id);
    delegate::call(context, "export", words).await
}
