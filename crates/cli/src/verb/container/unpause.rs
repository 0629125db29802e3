//! `unpause`.

use super::pause;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `unpause`: those of `pause`.
pub(crate) type Options = pause::Options;

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    pause::ask(context, options, "/unpause").await
}
