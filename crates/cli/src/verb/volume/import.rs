//! `volume import`.

use super::path;
use crate::archive::upload;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::stream::terminal::stdin_is_terminal;
use std::fs::File;
use wharf_docker_api::client::Call;

/// Flags of `volume import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "VOLUME", required = true, hide = true)]
    volume: String,
    #[arg(value_name = "file|-", required = true, hide = true)]
    file: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let body = match options.file.as_str() {
        "-" if stdin_is_terminal() => {
            return Err(Failure::new("requested import from stdin, but stdin is a terminal"));
        }
        "-" => upload::from_reader(std::io::stdin()),
        file => upload::from_reader(
            File::open(file).map_err(|e| Failure::file("open", std::path::Path::new(file), &e))?,
        ),
    };
    let call = Call::put(path(&options.volume, "/archive")).body("application/x-tar", body);
    context.client.done(call).await?;
    Ok(0)
}
