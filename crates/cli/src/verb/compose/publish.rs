//! `compose publish`.

use super::secrets::Scanner;
use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use std::fmt::Write;
use wharf_compose::artifact::Oci;
use wharf_compose::project::{Loaded, Project};
use wharf_compose::run::publish;
use wharf_compose::run::report::{Report, Status};

/// Flags of `compose publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Publish the images beside the files, too
    #[arg(long)]
    app: bool,
    /// Version of OCI's specification to publish by: 1.0 or 1.1, and 1.0 where the registry refuses 1.1 without it
    #[arg(long, value_name = "string")]
    oci_version: Option<String>,
    /// Name images by their digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Publish variables and files of variables
    #[arg(long)]
    with_env: bool,
    /// Answer every question by yes
    #[arg(short = 'y', long)]
    yes: bool,
    #[arg(value_name = "REPOSITORY", required = true, hide = true)]
    repository: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let oci = match options.oci_version.as_deref() {
        None | Some("") => None,
        Some("1.0") => Some(Oci::V1_0),
        Some("1.1") => Some(Oci::V1_1),
        Some(other) => return Err(Failure::new(format!("unsupported OCI version: {other}: 1.0 or 1.1"))),
    };
    let mut written = super::load(context, |project| project.no_env_resolution = true)?;
    written.project.services.append(&mut written.disabled);
    check(&written.project, options.with_env)?;
    let mut work = Work::load(context)?.titled("Publishing");
    // All profiles are published.
    work.loaded.project.services.append(&mut work.loaded.disabled);
    work.screen = work.screen.with(false, false, options.yes);
    for question in questions(&written, options.with_env) {
        if !work.screen.confirm(&question) {
            return Ok(0);
        }
    }
    let run = work.run(context);
    for (name, service) in &work.loaded.project.services {
        if service.build.is_none() {
            work.screen.step(name, "Skipped", Status::Warning);
        } else if let Err(error) = run.push(name, &service.image, false).await {
            work.screen.warn(&error.to_string());
        }
    }
    let publish = publish::Options {
        digests: options.resolve_image_digests,
        with_env: options.with_env,
        oci,
        app: options.app,
    };
    run.publish(&options.repository, &publish).await?;
    Ok(0)
}

/// Refuses what cannot be published, or not without a word of the user's.
fn check(project: &Project, with_env: bool) -> Result<(), Failure> {
    let built: Vec<String> = project
        .services
        .iter()
        .filter(|(_, service)| service.image.is_empty() && service.build.is_some())
        .map(|(name, _)| format!("- {name:?}"))
        .collect();
    if !built.is_empty() {
        return Err(Failure::new(format!(
            "your Compose stack cannot be published as it only contains a build section for service(s):\n{}\ngive them an image",
            built.join("\n")
        )));
    }
    let mut declared = String::new();
    for (name, service) in &project.services {
        if !service.env_file.is_empty() {
            let _ = writeln!(declared, "service {name:?} has env_file declared.");
        }
        if !service.environment.is_empty() {
            let _ = writeln!(declared, "service {name:?} has environment variable(s) declared.");
        }
    }
    for (name, config) in project.configs.iter().filter(|(_, config)| !config.environment.is_empty()) {
        let _ = writeln!(
            declared,
            "config {name:?} is declare as an environment variable. ({})",
            config.environment
        );
    }
    if with_env || declared.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{declared}To avoid leaking sensitive data, you must either explicitly allow the sending of environment variables by using the --with-env flag,\n\
         or remove sensitive data from your Compose configuration"
    )))
}

/// What the user is asked before anything leaves the machine.
fn questions(loaded: &Loaded, with_env: bool) -> Vec<String> {
    let project = &loaded.project;
    let mut questions = Vec::new();
    let mut binds = String::new();
    let mut variables = String::new();
    for (name, service) in &project.services {
        for volume in service.volumes.iter().filter(|volume| volume.kind == "bind") {
            let _ = writeln!(binds, "{name}: {}:{}", volume.source, volume.target);
        }
        for (key, value) in service.environment.iter().filter(|_| with_env) {
            let _ = writeln!(variables, "{name}: {key}={}", value.as_deref().unwrap_or_default());
        }
    }
    if !binds.is_empty() {
        questions.push(format!(
            "you are about to publish bind mounts declaration within your OCI artifact.\n\
             only the bind mount declarations will be added to the OCI artifact (not content)\n\
             please double check that you are not mounting potential user's sensitive directories or data\n\
             {binds}Are you ok to publish these bind mount declarations?"
        ));
    }
    let secrets = secrets(loaded);
    if !secrets.is_empty() {
        questions.push(format!(
            "you are about to publish sensitive data within your OCI artifact.\n\
             please double check that you are not leaking sensitive data\n\
             {}\nAre you ok to publish these sensitive data?",
            secrets.join("\n")
        ));
    }
    if !variables.is_empty() {
        questions.push(format!(
            "you are about to publish environment variables within your OCI artifact.\n\
             please double check that you are not leaking sensitive data\n\
             {variables}Are you ok to publish these environment variables?"
        ));
    }
    questions
}

/// Lines of the files that have what looks like a key.
fn secrets(loaded: &Loaded) -> Vec<String> {
    let env = loaded.project.services.values().flat_map(|service| &service.env_file);
    let files = loaded.files.iter().cloned().chain(env.map(|file| loaded.dir.join(&file.path)));
    let (scanner, mut found) = (Scanner::new(), Vec::new());
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (at, line) in text.lines().enumerate() {
            if let Some(what) = scanner.kind(line) {
                found.push(format!("{what}: {}:{}", path.display(), at + 1));
            }
        }
    }
    found
}
