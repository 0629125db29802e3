//! `context update`.

use super::described::Described;
use crate::config::contexts::{Store, check_name};
use crate::context::{Context, line, note};
use crate::failure::Outcome;

/// Flags of `context update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Words about the context
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// Another engine: host=ADDRESS, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=true, from=CONTEXT
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    #[arg(value_name = "CONTEXT", hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (store, name) = (Store::of(&context.config_dir), options.name);
    check_name(&name)?;
    let mut engine = store.find(&name)?;
    if let Some(description) = options.description {
        engine.metadata.description = description;
    }
    if options.docker.is_empty() {
        store.keep_meta(&engine)?;
    } else {
        let described = Described::read(&store, &options.docker)?;
        engine.endpoints.docker = described.address;
        store.keep(&engine, &described.tls)?;
    }
    line(&name)?;
    note(format!("Successfully updated context {name:?}"));
    Ok(0)
}
