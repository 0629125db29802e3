//! `commit`.

use crate::context::{Context, line};
use crate::failure::Outcome;
use crate::image_ref::split;
use serde_json::json;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::IdResponse;

/// Flags of `commit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Who made the image
    #[arg(short = 'a', long, value_name = "string")]
    author: Option<String>,
    /// Change the image's configuration by a Dockerfile instruction
    #[arg(short = 'c', long, value_name = "list")]
    change: Vec<String>,
    /// Why the image was made
    #[arg(short = 'm', long, value_name = "string")]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short = 'p', long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    pause: bool,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
    #[arg(value_name = "REPOSITORY", hide = true)]
    repository: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (repository, tag) = match &options.repository {
        Some(name) => {
            let (repository, tag) = split(name);
            (Some(repository), Some(tag.unwrap_or("latest")))
        }
        None => (None, None),
    };
    let mut query = Query::new()
        .with("container", &options.container)
        .maybe("repo", repository)
        .maybe("tag", tag)
        .maybe("comment", options.message.as_ref())
        .maybe("author", options.author.as_ref());
    for change in &options.change {
        query = query.with("changes", change);
    }
    if !options.pause {
        query = query.with("pause", 0);
    }
    let created: IdResponse =
        context.client.json(Call::post("/commit").query(query).json(&json!({}))?).await?;
    line(created.id)?;
    Ok(0)
}
