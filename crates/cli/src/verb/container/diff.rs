//! `diff`.

use super::path;
use crate::context::{Context, print};
use crate::failure::Outcome;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::container::Change;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let changes: Option<Vec<Change>> =
        context.client.json(Call::get(path(&options.container, "/changes"))).await?;
    let mut text = String::new();
    for change in changes.unwrap_or_default() {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        text.push_str(&format!("{kind} {}\n", change.path));
    }
    print(text)?;
    Ok(0)
}
