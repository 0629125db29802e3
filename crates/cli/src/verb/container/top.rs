//! `top`.

use super::path;
use crate::context::{Context, print};
use crate::failure::Outcome;
use crate::format::table::align_with;
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::TopResponse;

/// Flags of `top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
    #[arg(value_name = "PS_OPTIONS", num_args(0..), trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    ps_options: Vec<String>,
}

/// Columns are at least this wide, in characters.
const COLUMN_WIDTH: usize = 20;

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let wanted = options.ps_options.join(" ");
    let query = Query::new().maybe("ps_args", (!wanted.is_empty()).then_some(wanted));
    let top: TopResponse =
        context.client.json(Call::get(path(&options.container, "/top")).query(query)).await?;
    let lines: Vec<String> =
        std::iter::once(&top.titles).chain(&top.processes).map(|cells| cells.join("\t")).collect();
    print(align_with(&lines, COLUMN_WIDTH))?;
    Ok(0)
}
