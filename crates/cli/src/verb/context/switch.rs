//! `context use`.

use crate::config::contexts::{DEFAULT, Store};
use crate::context::{Context, line, note};
use crate::failure::Outcome;

/// Flags of `context use`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTEXT", hide = true)]
    name: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let name = options.name.as_str();
    if name != DEFAULT {
        Store::of(&context.config_dir).find(name)?;
    }
    context.config()?.set_text("currentContext", Some(name).filter(|n| *n != DEFAULT))?;
    line(name)?;
    note(format!("Current context is now {name:?}"));
    let by_variable = ["WHARF_HOST", "DOCKER_HOST"].into_iter().find(|v| std::env::var_os(v).is_some());
    if let Some(variable) = by_variable.filter(|_| name != DEFAULT) {
        note(format!("Warning: {variable} names the engine while it is set, whatever the context"));
    }
    Ok(0)
}
