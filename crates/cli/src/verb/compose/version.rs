//! `compose version`.

use crate::context::{Context, line};
use crate::failure::Outcome;
use wharf_compose::plan::VERSION;

/// Flags of `compose version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show as pretty or json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
    /// Show the number alone
    #[arg(long)]
    short: bool,
}

#[allow(clippy::unused_async)] // Every verb is.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.short {
        line(VERSION)?;
    } else if options.format.as_deref() == Some("json") {
        line(serde_json::json!({"version": format!("v{VERSION}")}))?;
    } else {
        line(format!("Docker Compose version v{VERSION} (as done by Wharf {})", context.hooks.version))?;
    }
    Ok(0)
}
