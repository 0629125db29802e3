//! `compose viz`: a picture of the services.

use super::work::Work;
use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use wharf_compose::project::picture;

/// Flags of `compose viz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Draw as svg, or print as dot
    #[arg(long, value_name = "string", default_value = "svg")]
    format: String,
    /// Write to a file
    #[arg(short = 'o', long, value_name = "string")]
    output: Option<String>,
}

#[allow(clippy::unused_async)] // Every verb is.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let work = Work::load(context)?;
    let mut project = work.loaded.project.clone();
    for (name, service) in &mut project.services {
        service.image = work.loaded.image_of(name, service);
    }
    let text = match options.format.as_str() {
        "svg" => picture::svg(&project),
        "dot" => picture::dot(&project),
        other => return Err(Failure::new(format!("unsupported format {other:?}: svg or dot"))),
    };
    match &options.output {
        Some(path) => std::fs::write(path, text).map_err(|e| Failure::file("write", path, &e))?,
        None => print(text)?,
    }
    Ok(0)
}
