//! `import`.

use crate::archive::upload;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::image_ref::split;
use crate::stream::progress::{self, Target};
use std::fs::File;
use wharf_docker_api::client::{Body, Call, Query};

/// Flags of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change the image's configuration by a Dockerfile instruction
    #[arg(short = 'c', long, value_name = "list")]
    change: Vec<String>,
    /// Why the image was made
    #[arg(short = 'm', long, value_name = "string")]
    message: Option<String>,
    /// Platform, such as linux/arm64
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(value_name = "SOURCE", required = true, hide = true)]
    source: String,
    #[arg(value_name = "REPOSITORY", hide = true)]
    repository: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let source = options.source.as_str();
    let (from, body) = if source == "-" {
        ("-", upload::from_reader(std::io::stdin()))
    } else if source.starts_with("http://") || source.starts_with("https://") {
        (source, Body::empty())
    } else {
        ("-", upload::from_reader(File::open(source).map_err(|e| Failure::file("open", source, &e))?))
    };
    let (repository, tag) = options.repository.as_deref().map(split).unzip();
    let mut query = Query::new()
        .with("fromSrc", from)
        .maybe("repo", repository)
        .maybe("tag", tag.flatten())
        .maybe("message", options.message.as_ref())
        .maybe("platform", options.platform.as_ref());
    for change in &options.change {
        query = query.with("changes", change);
    }
    let call = Call::post("/images/create").query(query).body("application/x-tar", body);
    progress::show(context.client.stream(call).await?, Target::Stdout, |_| {}).await?;
    Ok(0)
}
