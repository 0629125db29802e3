//! `compose build`.

use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::parse::size::bytes;
use wharf_compose::project::yaml;
use wharf_compose::run::build;

/// Flags of `compose build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Value of an ARG, as NAME=value or NAME
    #[arg(long, value_name = "stringArray")]
    build_arg: Vec<String>,
    /// A builder of BuildKit's, which there is not
    #[arg(long, value_name = "string", hide = true)]
    builder: Option<String>,
    /// Look at the files alone
    #[arg(long, hide = true)]
    check: bool,
    /// Most memory
    #[arg(short = 'm', long, value_name = "bytes", value_parser = bytes)]
    memory: Option<i64>,
    /// Build every step anew
    #[arg(long)]
    no_cache: bool,
    /// Show the builds as a bake file
    #[arg(long)]
    print: bool,
    /// Look for newer base images
    #[arg(long)]
    pull: bool,
    /// An attestation of the build
    #[arg(long, value_name = "string")]
    provenance: Option<String>,
    /// An attestation of what is in the image
    #[arg(long, value_name = "string")]
    sbom: Option<String>,
    /// Send images to their registries
    #[arg(long)]
    push: bool,
    /// Print nothing
    #[arg(short = 'q', long)]
    quiet: bool,
    /// SSH agent for the builds, as default or id=socket
    #[arg(long, value_name = "string")]
    ssh: Vec<String>,
    /// Build what services need, too
    #[arg(long)]
    with_dependencies: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    refuse(&options)?;
    let mut work = Work::load(context)?.titled("Building");
    work.select(&options.services, options.with_dependencies)?;
    if options.quiet {
        work.screen = work.screen.quiet();
    }
    let built = work.loaded.project.services.iter().filter(|(_, service)| service.build.is_some());
    let names: Vec<&str> = built.map(|(name, _)| name.as_str()).collect();
    if options.print {
        crate::context::print(bake(&work))?;
        return Ok(0);
    }
    if names.is_empty() {
        crate::context::note("No services to build");
        return Ok(0);
    }
    let args = options.build_arg.iter().map(|text| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.clone(), work.loaded.environment.get(text).map(str::to_owned)),
    });
    let build = build::Options {
        no_cache: options.no_cache,
        pull: options.pull,
        args: args.collect(),
        memory: options.memory,
        quiet: options.quiet,
        push: options.push,
        ssh: options.ssh,
        provenance: options.provenance,
        sbom: options.sbom,
    };
    work.run(context).build_services(&names, &build).await?;
    Ok(0)
}

/// Names what there is not.
fn refuse(options: &Options) -> Result<(), Failure> {
    let asked = [(options.builder.is_some(), "--builder"), (options.check, "--check")];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, flag)) => Err(Failure::new(format!(
            "{flag} is not supported: the engine's own builder builds, and checks nothing else"
        ))),
        None => Ok(()),
    }
}

/// The builds as targets.
fn bake(work: &Work) -> String {
    use wharf_compose::project::tree::{self, Tree};
    let project = &work.loaded.project;
    let targets = project.services.iter().filter_map(|(name, service)| {
        let build = service.build.as_ref()?;
        let Tree::Struct(mut entries) = tree::of(build) else { return None };
        let image = work.loaded.image_of(name, service);
        entries.push(("tags".into(), Tree::List(vec![Tree::Text(image)])));
        Some((name.clone(), Tree::Struct(entries)))
    });
    yaml::text(&Tree::Map(vec![("target".into(), Tree::Map(targets.collect()))]))
}
