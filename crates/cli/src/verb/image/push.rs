//! `push`.

use super::path;
use crate::config::registry_auth;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::image_ref::{split, tagged};
use crate::stream::progress::{self, Target};
use wharf_docker_api::client::{Call, Query};

/// Flags of `push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every tag of the repository
    #[arg(short = 'a', long)]
    all_tags: bool,
    /// Without effect
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Only this platform of the image
    #[arg(long, value_name = "string", value_parser = crate::parse::platform::platform)]
    platform: Option<String>,
    /// Print nothing but the name
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "NAME", required = true, hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (repository, tag) = split(&options.name);
    if options.all_tags && tag.is_some() {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !options.all_tags && tag.is_none() && !options.quiet {
        line("Using default tag: latest")?;
    }
    let tag = if options.all_tags { None } else { Some(tag.unwrap_or("latest")) };
    let query = Query::new().maybe("tag", tag).maybe("platform", options.platform.as_ref());
    let auth = registry_auth(&context.config()?, repository)?;
    let call = Call::post(path(repository, "/push")).query(query).header("x-registry-auth", &auth)?;
    let target = if options.quiet { Target::Nowhere } else { Target::Stdout };
    progress::show(context.client.stream(call).await?, target, |_| {}).await?;
    if options.quiet {
        line(if options.all_tags { repository.to_owned() } else { tagged(&options.name) })?;
    }
    Ok(0)
}
