//! `rename`.

use super::path;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use wharf_docker_api::client::{Call, Query};

/// Flags of `rename`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
    #[arg(value_name = "NEW_NAME", required = true, hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.name.trim().is_empty() {
        return Err(Failure::new("new name cannot be blank"));
    }
    let query = Query::new().with("name", &options.name);
    let renamed = context.client.done(Call::post(path(&options.container, "/rename")).query(query)).await;
    renamed.map_err(|e| {
        Failure::new(format!("{e}\nError: failed to rename container named {}", options.container))
    })?;
    Ok(0)
}
