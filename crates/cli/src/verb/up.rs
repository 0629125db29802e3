//! `up`: the obvious thing with what a directory has.

use super::compose::{delegate, work::Work};
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use std::path::{Path, PathBuf};
use wharf_compose::project::names;
use wharf_compose::run::up;
use wharf_docker_api::client::{Call, segment};
use wharf_docker_api::types::container::Inspect;

/// Flags of `up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Make images even when they are there
    #[arg(long)]
    build: bool,
    #[arg(value_name = "DIRECTORY", hide = true)]
    directory: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if let Some(directory) = &options.directory {
        std::env::set_current_dir(directory).map_err(|e| Failure::file("enter", directory, &e))?;
    }
    let here = std::env::current_dir()?;
    let place = wharf_compose::project::load::place(&context.compose.project)?;
    if let Some(file) = place.files.first() {
        line(format!("Found {}: bringing its services up", file.display()))?;
        return project(context, options.build).await;
    }
    let dockerfile = ["Dockerfile", "dockerfile", "Containerfile"]
        .map(|name| here.join(name))
        .into_iter()
        .find(|path| path.is_file());
    match dockerfile {
        Some(file) => {
            line(format!("Found {}: building its image and running it", file.display()))?;
            image(context, &here, &file).await
        }
        None => Err(Failure::new(format!(
            "there is no Compose file ({}) and no Dockerfile in {}",
            names::FILES.join(", "),
            here.display()
        ))),
    }
}

async fn project(context: &Context, build: bool) -> Outcome {
    let mut work = Work::load(context)?;
    work.prune();
    let mut options = up::Options::default();
    options.images.build = build;
    work.run(context).up(&options).await?;
    work.screen.settle();
    delegate::call(context, "compose ps", Vec::new()).await?;
    line("Stop it with: wharf compose down")?;
    Ok(0)
}

/// Builds the directory's image and runs one container of it, in the place of the one from last time.
async fn image(context: &Context, here: &Path, dockerfile: &Path) -> Outcome {
    let name = here.file_name().map(|name| names::normalize(&name.to_string_lossy())).unwrap_or_default();
    // A container's name has two characters or more.
    let name = if name.len() < 2 { "app".to_owned() } else { name };
    let path = |path: &Path| path.display().to_string();
    let words = ["--tag", &name, "--file", &path(dockerfile), &path(here)].map(str::to_owned).to_vec();
    let status = delegate::call(context, "build", words).await?;
    if status != 0 {
        return Ok(status);
    }
    let before =
        context.client.json::<Inspect>(Call::get(format!("/containers/{}/json", segment(&name)))).await;
    match before {
        Ok(before) if before.config.labels.as_ref().is_some_and(|labels| labels.0.contains_key(MADE)) => {
            delegate::call(context, "rm", vec!["--force".into(), before.id]).await?;
        }
        Ok(_) => {
            return Err(Failure::new(format!(
                "a container {name:?} is there already, and `wharf up` did not make it"
            )));
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    let words =
        ["--detach", "--publish-all", "--name", &name, "--label", MADE, &name].map(str::to_owned).to_vec();
    let status = delegate::call(context, "run", words).await?;
    if status == 0 {
        line(format!("{name} runs; its ports:"))?;
        delegate::call(context, "port", vec![name.clone()]).await?;
        line(format!("Stop it with: wharf rm -f {name}"))?;
    }
    Ok(status)
}

/// A container that this verb may replace.
const MADE: &str = "wharf.up";
