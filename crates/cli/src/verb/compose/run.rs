//! `compose run`.

use super::delegate;
use super::flags::is_on;
use super::work::Work;
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::stream::terminal::{stdin_is_terminal, stdout_is_terminal};
use wharf_compose::files::{canonical, node::Node, node::Value};
use wharf_compose::project::scalars::Words;
use wharf_compose::project::{Service, read};
use wharf_compose::run::images::Policy;
use wharf_compose::run::{container, oneoff};
use wharf_docker_api::client::{Call, Query};

/// Flags of `compose run`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Docker's own flags.
pub(crate) struct Options {
    /// Make images before
    #[arg(long)]
    build: bool,
    /// Capability to add
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Capability to take away
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// In the background, printing the container's id
    #[arg(short = 'd', long)]
    detach: bool,
    /// Another entrypoint
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Variable for the environment, NAME=value or NAME
    #[arg(short = 'e', long, value_name = "stringArray")]
    env: Vec<String>,
    /// File with variables, one a line
    #[arg(long, value_name = "stringArray")]
    env_from_file: Vec<String>,
    /// Join its input
    #[arg(short = 'i', long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    interactive: bool,
    /// Label, as key=value
    #[arg(short = 'l', long, value_name = "stringArray")]
    label: Vec<String>,
    /// Its name
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Without a terminal
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Do not start what the service needs
    #[arg(long)]
    no_deps: bool,
    /// Publish a port
    #[arg(short = 'p', long, value_name = "stringArray")]
    publish: Vec<String>,
    /// When to fetch images: always, missing or never
    #[arg(long, value_name = "string")]
    pull: Option<String>,
    /// Say nothing of steps
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Say nothing of how images are made
    #[arg(long)]
    quiet_build: bool,
    /// Say nothing of how images are fetched
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Publish the service's ports
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// With a terminal
    #[arg(short = 't', long, hide = true)]
    tty: bool,
    /// Give it the service's names in networks
    #[arg(long)]
    use_aliases: bool,
    /// Who runs it
    #[arg(short = 'u', long, value_name = "string")]
    user: Option<String>,
    /// Mount, as source:target
    #[arg(short = 'v', long, value_name = "stringArray")]
    volume: Vec<String>,
    /// Directory to run in
    #[arg(short = 'w', long, value_name = "string")]
    workdir: Option<String>,
    #[arg(value_name = "SERVICE", required = true, hide = true)]
    service: String,
    #[arg(value_name = "COMMAND", num_args(0..), trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    command: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.service_ports && !options.publish.is_empty() {
        return Err(Failure::new("--service-ports and --publish are incompatible"));
    }
    let mut work = Work::load(context)?;
    work.select(std::slice::from_ref(&options.service), true)?;
    work.prune();
    if options.quiet {
        work.screen = work.screen.quiet();
    }
    let tty = !options.no_tty
        && !options.detach
        && stdout_is_terminal()
        && (!options.interactive || stdin_is_terminal());
    let mut service = changed(work.loaded.project.service(&options.service)?, &options)?;
    service.tty = tty;
    service.stdin_open = options.interactive && !options.detach;
    let wanted = oneoff::Options {
        service,
        name: options.service.clone(),
        container: options.name.clone(),
        aliases: options.use_aliases,
        remove: options.rm,
        no_deps: options.no_deps,
        slug: slug()?,
        images: Policy {
            build: options.build,
            pull: options.pull.clone().unwrap_or_default(),
            quiet_pull: options.quiet_pull,
            quiet_build: options.quiet_build,
            no_build: false,
        },
        remove_orphans: options.remove_orphans || is_on("COMPOSE_REMOVE_ORPHANS"),
        ignore_orphans: is_on("COMPOSE_IGNORE_ORPHANS"),
    };
    let run = work.run(context);
    let one = run.one_off(&wanted).await?;
    work.screen.settle();
    if context.compose.dry_run {
        return Ok(0);
    }
    if options.detach {
        context.client.done(Call::post(container(&one.id, "/start"))).await?;
        line(&one.id)?;
        return Ok(0);
    }
    let mut words = vec!["--attach".to_owned()];
    if options.interactive {
        words.push("--interactive".to_owned());
    }
    words.push(one.id.clone());
    let outcome = delegate::call(context, "start", words).await;
    if options.rm {
        let call = Call::delete(container(&one.id, "")).query(Query::new().with("force", 1).with("v", 1));
        context.client.done(call).await?;
    }
    outcome
}

/// The service as flags change it: what a file would say in its place.
fn changed(service: &Service, options: &Options) -> Result<Service, Failure> {
    let mut service = service.clone();
    service.restart.clear();
    if let Some(deploy) = &mut service.deploy {
        deploy.restart_policy = None;
    }
    service.scale = None;
    if !options.service_ports {
        service.ports.clear();
    }
    let mut file = Node::new(Value::Map(Vec::new()), &Default::default());
    let list = |texts: &[String]| {
        Value::List(texts.iter().map(|text| Node::text(text, &Default::default())).collect())
    };
    for (key, texts) in [
        ("ports", &options.publish),
        ("volumes", &options.volume),
        ("labels", &options.label),
        ("environment", &options.env),
    ] {
        if !texts.is_empty() {
            file.set(key, Node::new(list(texts), &Default::default()));
        }
    }
    if let Some(entrypoint) = &options.entrypoint {
        file.set("entrypoint", Node::text(entrypoint, &Default::default()));
        service.command = Words(None);
    }
    canonical::service(&mut file)?;
    wharf_compose::files::paths::service(&mut file, &std::env::current_dir()?);
    let said: Service = read::read(&file, "run")?;
    service.ports.extend(said.ports);
    service.volumes.retain(|known| !said.volumes.iter().any(|volume| volume.target == known.target));
    service.volumes.extend(said.volumes);
    service.labels.extend(said.labels);
    for path in &options.env_from_file {
        let found =
            wharf_compose::files::dotenv::read(path.as_ref(), false, &|name| std::env::var(name).ok())?;
        service.environment.extend(found);
    }
    service.environment.extend(said.environment.into_iter().map(|(name, value)| {
        let value = value.or_else(|| std::env::var(&name).ok());
        (name, value)
    }));
    if said.entrypoint.0.is_some() {
        service.entrypoint = said.entrypoint;
    }
    if !options.command.is_empty() {
        service.command = Words(Some(options.command.clone()));
    }
    service.cap_add.extend(options.cap_add.iter().cloned());
    service.cap_drop.extend(options.cap_drop.iter().cloned());
    if let Some(user) = &options.user {
        service.user.clone_from(user);
    }
    if let Some(dir) = &options.workdir {
        service.working_dir.clone_from(dir);
    }
    Ok(service)
}

/// Digits that no other run has.
fn slug() -> Result<String, Failure> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0u8; 6];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::new("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
