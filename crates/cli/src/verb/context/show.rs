//! `context show`.

use crate::context::{Context, line};
use crate::failure::Outcome;

/// Flags of `context show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

pub(crate) async fn run(context: &Context, _: Options) -> Outcome {
    line(&context.chosen)?;
    Ok(0)
}
