//! `image copy`, beyond Docker: from registry to registry.

use super::distribution;
use crate::config::registries_auth;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::stream::progress::{self, Target};
use wharf_docker_api::client::{Call, Query};

/// Flags of `image copy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only the image for this platform, such as linux/arm64; all of them without
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Print nothing but the digest
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "SOURCE", required = true, hide = true)]
    source: String,
    #[arg(value_name = "TARGET", required = true, hide = true)]
    target: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let show = if options.quiet { Target::Nowhere } else { Target::Stdout };
    let digest = copy(context, &options.source, &options.target, options.platform.as_deref(), show).await?;
    if options.quiet {
        line(digest)?;
    }
    Ok(0)
}

/// Copies, and returns the digest.
pub(crate) async fn copy(
    context: &Context,
    source: &str,
    target: &str,
    platform: Option<&str>,
    show: Target,
) -> Result<String, Failure> {
    let auth = registries_auth(&context.config()?, &[source, target])?;
    let query = Query::new().with("to", target).maybe("platform", platform);
    let call = Call::post(distribution(source, "/copy")).query(query).header("x-registry-config", &auth)?;
    let mut digest = None;
    progress::show(context.client.stream(call).await?, show, |message| {
        let pushed = message.aux.as_ref().and_then(|aux| aux.get("Digest")).and_then(|d| d.as_str());
        digest = pushed.map(str::to_owned).or(digest.take());
    })
    .await?;
    digest.ok_or_else(|| Failure::new("the engine did not say what it copied"))
}
