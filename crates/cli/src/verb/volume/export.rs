//! `volume export`.

use super::path;
use crate::context::Context;
use crate::failure::Outcome;
use crate::verb::image::save::write_archive;
use wharf_docker_api::client::Call;

/// Flags of `volume export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// File to write to
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
    #[arg(value_name = "VOLUME", required = true, hide = true)]
    volume: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    write_archive(context, Call::get(path(&options.volume, "/archive")), options.output.as_deref()).await?;
    Ok(0)
}
