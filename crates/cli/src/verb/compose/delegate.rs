//! Other verbs of the command line, called with words of our own.

use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Calls a verb with arguments.
pub(crate) async fn call(context: &Context, name: &str, arguments: Vec<String>) -> Outcome {
    let names: Vec<&str> = name.split(' ').collect();
    let (verb, _) =
        crate::verb::find(&names).ok_or_else(|| Failure::new(format!("unknown command: {name}")))?;
    let words = std::iter::once(name.to_owned()).chain(arguments);
    let matches =
        crate::app::decorate(verb).try_get_matches_from(words).map_err(|e| Failure::new(e.to_string()))?;
    (verb.run)(context, matches).await
}
