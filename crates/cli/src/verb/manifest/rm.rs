//! `manifest rm`.

use super::store::Store;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Flags of `manifest rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "MANIFEST_LIST", required = true, num_args = 1.., hide = true)]
    lists: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let store = Store::new(&context.config_dir);
    let mut missing = Vec::new();
    for list in &options.lists {
        if !store.forget(list)? {
            missing.push(format!("No such manifest: {list}"));
        }
    }
    if missing.is_empty() { Ok(0) } else { Err(Failure::new(missing.join("\n"))) }
}
