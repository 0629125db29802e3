//! `load`.

use crate::archive::upload;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::stream::progress::{self, Target};
use crate::stream::terminal::stdin_is_terminal;
use std::fs::File;
use wharf_docker_api::client::{Call, Query};

/// Flags of `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Archive to read instead of standard input
    #[arg(short = 'i', long, value_name = "string")]
    input: Option<String>,
    /// Only this platform of the image
    #[arg(long, value_name = "list", value_parser = crate::parse::platform::platform)]
    platform: Vec<String>,
    /// Do not show the progress
    #[arg(short = 'q', long)]
    quiet: bool,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let body = match &options.input {
        Some(path) => upload::from_reader(File::open(path).map_err(|e| Failure::file("open", path, &e))?),
        None if stdin_is_terminal() => {
            return Err(Failure::new("requested load from stdin, but stdin is empty"));
        }
        None => upload::from_reader(std::io::stdin()),
    };
    let mut query = Query::new().with("quiet", u8::from(options.quiet));
    for platform in &options.platform {
        query = query.with("platform", platform);
    }
    let call = Call::post("/images/load").query(query).body("application/x-tar", body);
    progress::show(context.client.stream(call).await?, Target::Stdout, |_| {}).await?;
    Ok(0)
}
