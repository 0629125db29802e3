//! `save`.

use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use crate::stream::terminal::stdout_is_terminal;
use std::io::Write;
use std::path::Path;
use wharf_docker_api::client::{Call, Query};

/// Flags of `save`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// File to write to
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
    /// Only this platform of the image
    #[arg(long, value_name = "list", value_parser = crate::parse::platform::platform)]
    platform: Vec<String>,
    #[arg(value_name = "IMAGE", required = true, hide = true)]
    images: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut query = Query::new();
    for image in &options.images {
        query = query.with("names", image);
    }
    for platform in &options.platform {
        query = query.with("platform", platform);
    }
    write_archive(context, Call::get("/images/get").query(query), options.output.as_deref()).await?;
    Ok(0)
}

/// Writes the answer of a call to a file that appears when it is whole, or to standard output.
pub(crate) async fn write_archive(
    context: &Context,
    call: Call,
    output: Option<&str>,
) -> Result<(), Failure> {
    let Some(output) = output else {
        if stdout_is_terminal() {
            return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
        }
        let mut stream = context.client.stream(call).await?;
        while let Some(chunk) = stream.chunk().await? {
            print(chunk)?;
        }
        return Ok(());
    };
    let target = Path::new(output);
    let failed = |error: std::io::Error| Failure::file("write", target, &error);
    let special = std::fs::metadata(target).is_ok_and(|metadata| !metadata.is_file());
    let mut stream = context.client.stream(call).await?;
    if special {
        // A pipe or device is written to as it is.
        let mut file = std::fs::OpenOptions::new().write(true).open(target).map_err(failed)?;
        while let Some(chunk) = stream.chunk().await? {
            file.write_all(&chunk).map_err(failed)?;
        }
        return Ok(());
    }
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = Path::new(&name);
    let mut file = std::fs::File::create(part).map_err(failed)?;
    let written = async {
        while let Some(chunk) = stream.chunk().await? {
            file.write_all(&chunk).map_err(failed)?;
        }
        std::fs::rename(part, target).map_err(failed)
    };
    written.await.inspect_err(|_| {
        // Half an archive is of no use; the failure is what matters.
        let _ = std::fs::remove_file(part);
    })
}
