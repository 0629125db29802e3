//! `context create`.

use super::described::Described;
use super::known;
use crate::config::contexts::{Store, check_name};
use crate::context::{Context, line, note};
use crate::failure::{Failure, Outcome};

/// Flags of `context create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Words about the context
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// The engine: host=ADDRESS, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=true, from=CONTEXT
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    /// Begin with what another context has
    #[arg(long, value_name = "string")]
    from: Option<String>,
    #[arg(value_name = "CONTEXT", hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (store, name) = (Store::of(&context.config_dir), options.name);
    check_name(&name)?;
    if store.find(&name).is_ok() {
        return Err(Failure::new(format!("context {name:?} already exists")));
    }
    // Without a word of the engine it is the one in use.
    let begin = options.from.as_deref().unwrap_or(&context.chosen);
    let (mut engine, mut tls) = (known(&store, begin)?, store.tls_of(begin)?);
    engine.name.clone_from(&name);
    if !options.docker.is_empty() {
        let described = Described::read(&store, &options.docker)?;
        (engine.endpoints.docker, tls) = (described.address, described.tls);
        if options.from.is_none() {
            engine.metadata = Default::default();
        }
    }
    if let Some(description) = options.description {
        engine.metadata.description = description;
    }
    store.keep(&engine, &tls)?;
    line(&name)?;
    note(format!("Successfully created context {name:?}"));
    Ok(0)
}
