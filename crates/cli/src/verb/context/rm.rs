//! `context rm`.

use crate::config::contexts::{DEFAULT, Store};
use crate::context::{Context, each};
use crate::failure::{Failure, Outcome};

/// Flags of `context rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Also when it is in use
    #[arg(short = 'f', long)]
    force: bool,
    #[arg(value_name = "CONTEXT", required = true, hide = true)]
    names: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::of(&context.config_dir);
    let current = context.config()?.text("currentContext").unwrap_or(DEFAULT).to_owned();
    each(&options.names, async |name: &str| {
        if name == DEFAULT {
            return Err(Failure::new("context \"default\" cannot be removed"));
        }
        if name == current && !options.force {
            return Err(Failure::new(format!("context {name:?} is in use, set -f flag to force remove")));
        }
        if !options.force {
            store.find(name)?;
        }
        store.remove(name)?;
        if name == current {
            context.config()?.set_text("currentContext", None)?;
        }
        Ok(name.to_owned())
    })
    .await
}
