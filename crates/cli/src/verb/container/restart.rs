//! `restart`.

use super::stop;
use crate::context::Context;
use crate::failure::Outcome;

/// Flags of `restart`: those of `stop`.
pub(crate) type Options = stop::Options;

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    stop::ask(context, options, "/restart").await
}
