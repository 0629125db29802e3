//! `manifest create`.

use super::store::Store;
use super::{entry, full};
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};

/// Flags of `manifest create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Add to a list that is there
    #[arg(short = 'a', long)]
    amend: bool,
    /// Without effect: the engine's insecure-registries decide
    #[arg(long, hide = true)]
    insecure: bool,
    #[arg(value_name = "MANIFEST_LIST", required = true, hide = true)]
    list: String,
    #[arg(value_name = "MANIFEST", required = true, num_args = 1.., hide = true)]
    manifests: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::new(&context.config_dir);
    if store.exists(&options.list) && !options.amend {
        return Err(Failure::new("refusing to amend an existing manifest list with no --amend flag"));
    }
    let mut entries = Vec::new();
    for name in &options.manifests {
        entries.push(entry(context, name).await?);
    }
    entries.iter().try_for_each(|entry| store.keep(&options.list, entry))?;
    line(format!("Created manifest list {}", full(&options.list)))?;
    Ok(0)
}
