//! `manifest push`.

use super::store::Store;
use super::{full, list, repository, with_digest};
use crate::config::registry_auth;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::stream::progress::Target;
use crate::verb::image::{copy, distribution};
use wharf_docker_api::client::{Body, Call};

/// Flags of `manifest push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Without effect: the engine's insecure-registries decide
    #[arg(long, hide = true)]
    insecure: bool,
    /// Forget the list afterwards
    #[arg(short = 'p', long)]
    purge: bool,
    #[arg(value_name = "MANIFEST_LIST", required = true, hide = true)]
    list: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::new(&context.config_dir);
    let entries = store.entries(&options.list)?;
    if entries.is_empty() {
        return Err(Failure::new(format!("{} not found", full(&options.list))));
    }
    let target = repository(&options.list);
    for entry in &entries {
        let digest = entry.descriptor.get("digest").and_then(|d| d.as_str()).unwrap_or_default();
        let runs_on = |key: &str| entry.descriptor.get("platform").is_some_and(|p| p[key].is_string());
        if !runs_on("architecture") || !runs_on("os") {
            let text = format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                entry.reference
            );
            return Err(Failure::new(text));
        }
        // What is there already, the engine does not send again.
        let source = with_digest(&entry.reference, digest);
        if repository(&entry.reference) != target {
            copy::copy(context, &source, &format!("{target}@{digest}"), None, Target::Nowhere).await?;
        }
    }
    let (media_type, document) = list(&entries);
    let auth = registry_auth(&context.config()?, &options.list)?;
    let call = Call::put(distribution(&full(&options.list), "/manifest"))
        .header("x-registry-auth", &auth)?
        .body(media_type, Body::full(document.to_string().into_bytes()));
    let (headers, _) = context.client.whole(call).await?;
    let digest = headers.get("docker-content-digest").and_then(|v| v.to_str().ok());
    line(digest.unwrap_or_default())?;
    if options.purge {
        store.forget(&options.list)?;
    }
    Ok(0)
}
