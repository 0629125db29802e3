//! `compose attach`.

use super::delegate;
use super::work::Work;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `compose attach`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keys that leave the container running
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Which of the service's containers
    #[arg(long, value_name = "int", default_value_t = 0)]
    index: i64,
    /// Keep standard input here
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container's process
    #[arg(long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    sig_proxy: bool,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    service: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::known(context).await?;
    let one = work.container(context, &options.service, options.index).await?;
    let mut words = vec![format!("--sig-proxy={}", options.sig_proxy)];
    if let Some(keys) = options.detach_keys {
        words.extend(["--detach-keys".to_owned(), keys]);
    }
    if options.no_stdin {
        words.push("--no-stdin".to_owned());
    }
    words.push(one.id);
    delegate::call(context, "attach", words).await
}
