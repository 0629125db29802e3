//! `pull`.

use crate::config::registry_auth;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::image_ref::{domain, split, tagged};
use crate::stream::progress::{self, Target};
use wharf_docker_api::client::{Call, Query};

/// Flags of `pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Every tag of the repository
    #[arg(short = 'a', long)]
    all_tags: bool,
    /// Without effect
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Platform, such as linux/arm64
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Print nothing but the name
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "NAME", required = true, hide = true)]
    name: String,
}

/// Where the progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Stdout,
    Stderr,
    Nothing,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let show = if options.quiet { Show::Nothing } else { Show::Stdout };
    let name = &options.name;
    if options.all_tags {
        if split(name).1.is_some() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        fetch(context, name, None, options.platform.as_deref(), show).await?;
    } else {
        if split(name).1.is_none() && !options.quiet {
            line("Using default tag: latest")?;
        }
        pull(context, name, options.platform.as_deref(), show).await?;
    }
    line(full_name(name, options.all_tags))?;
    Ok(0)
}

/// Downloads an image, `:latest` where nothing else is said.
pub(crate) async fn pull(
    context: &Context,
    name: &str,
    platform: Option<&str>,
    show: Show,
) -> Result<(), Failure> {
    let (repository, tag) = split(name);
    fetch(context, repository, Some(tag.unwrap_or("latest")), platform, show).await
}

async fn fetch(
    context: &Context,
    repository: &str,
    tag: Option<&str>,
    platform: Option<&str>,
    show: Show,
) -> Result<(), Failure> {
    let query = Query::new().with("fromImage", repository).maybe("tag", tag).maybe("platform", platform);
    let auth = registry_auth(&context.config()?, repository)?;
    let call = Call::post("/images/create").query(query).header("x-registry-auth", &auth)?;
    let target = match show {
        Show::Stdout => Target::Stdout,
        Show::Stderr => Target::Stderr,
        Show::Nothing => Target::Nowhere,
    };
    progress::show(context.client.stream(call).await?, target, |_| {}).await
}

/// The name with registry and tag, as Docker says it when it is done.
fn full_name(name: &str, all_tags: bool) -> String {
    let name = if all_tags { name.to_owned() } else { tagged(name) };
    if name.starts_with(domain(&name)) {
        name
    } else if name.contains('/') {
        format!("docker.io/{name}")
    } else {
        format!("docker.io/library/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        assert_eq!(full_name("busybox", false), "docker.io/library/busybox:latest");
        assert_eq!(full_name("me/app:1", false), "docker.io/me/app:1");
        assert_eq!(full_name("127.0.0.1:5000/app", false), "127.0.0.1:5000/app:latest");
    }
}
