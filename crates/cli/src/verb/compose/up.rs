//! `compose up`.

use super::attached::{self, Attached, OnExit};
use super::flags::{self, Making};
use super::work::Work;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::stream::terminal;

/// Flags of `compose up`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Docker's own flags.
pub(crate) struct Options {
    #[command(flatten)]
    making: Making,
    /// Stop all when one ends with another status than 0
    #[arg(long)]
    abort_on_container_failure: bool,
    /// Stop all when one ends
    #[arg(long)]
    abort_on_container_exit: bool,
    /// Make what services need anew, too
    #[arg(long)]
    always_recreate_deps: bool,
    /// Show the output of these alone
    #[arg(long, value_name = "stringArray")]
    attach: Vec<String>,
    /// Show the output of what services need, too
    #[arg(long)]
    attach_dependencies: bool,
    /// In the background
    #[arg(short = 'd', long)]
    detach: bool,
    /// End with the status of this service's container
    #[arg(long, value_name = "string")]
    exit_code_from: Option<String>,
    /// Take keys on a terminal, to detach and to watch; COMPOSE_MENU says it for all
    #[arg(long, value_name = "bool", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    menu: Option<bool>,
    /// Do not show the output of these
    #[arg(long, value_name = "stringArray")]
    no_attach: Vec<String>,
    /// Without colours
    #[arg(long)]
    no_color: bool,
    /// Leave what services need alone
    #[arg(long)]
    no_deps: bool,
    /// Without names before lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Make containers, and do not start them
    #[arg(long)]
    no_start: bool,
    /// Take no anonymous volumes from containers before
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Seconds to wait before killing
    #[arg(short = 't', long, value_name = "int")]
    timeout: Option<i64>,
    /// Begin lines with their times
    #[arg(long)]
    timestamps: bool,
    /// Until containers run, and are healthy where that is known; in the background
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "int")]
    wait_timeout: Option<u64>,
    /// Watch files, and bring changes into containers
    #[arg(short = 'w', long)]
    watch: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let detach = options.detach || options.wait;
    let aborts = options.abort_on_container_exit
        || options.abort_on_container_failure
        || options.exit_code_from.is_some();
    if detach && (aborts || !options.attach.is_empty() || options.attach_dependencies || options.watch) {
        return Err(Failure::new(
            "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ));
    }
    if options.abort_on_container_exit && options.abort_on_container_failure {
        return Err(Failure::new(
            "--abort-on-container-failure cannot be combined with --abort-on-container-exit",
        ));
    }
    if options.no_deps && options.always_recreate_deps {
        return Err(Failure::new("--no-deps and --always-recreate-deps are incompatible"));
    }
    let mut work = Work::load(context)?;
    if let Some(name) = &options.exit_code_from {
        work.check(std::slice::from_ref(name))?;
    }
    work.check(&options.attach)?;
    work.select(&options.services, !options.no_deps)?;
    options.making.scale(&mut work.loaded.project)?;
    work.prune();
    let mut up = options.making.options(&options.services)?;
    up.timeout = options.timeout;
    up.renew_volumes = options.renew_anon_volumes;
    up.no_start = options.no_start;
    up.wait = options.wait;
    up.wait_timeout = flags::seconds(options.wait_timeout);
    if options.always_recreate_deps {
        up.recreate_needed = up.recreate;
    }
    work.screen = work.screen.with(options.no_color, options.no_log_prefix, options.making.yes);
    if options.no_start {
        work.screen = work.screen.titled("Creating");
    }
    if detach || options.no_start || context.compose.dry_run {
        work.run(context).up(&up).await?;
        return Ok(0);
    }
    let on_exit = match (
        &options.exit_code_from,
        options.abort_on_container_exit,
        options.abort_on_container_failure,
    ) {
        (None, false, false) => OnExit::GoOn,
        (_, false, true) => OnExit::StopOnFailure,
        _ => OnExit::Stop,
    };
    let shown = |name: &str, service: &wharf_compose::project::Service| {
        let named =
            match (options.attach.is_empty(), options.attach_dependencies, options.services.is_empty()) {
                (false, _, _) => options.attach.iter().any(|one| one == name),
                (true, false, false) => options.services.iter().any(|one| one == name),
                _ => true,
            };
        named && !options.no_attach.iter().any(|one| one == name) && service.attach != Some(false)
    };
    let services = &work.loaded.project.services;
    let shown = services
        .iter()
        .filter(|(name, service)| shown(name, service))
        .map(|(name, _)| name.clone())
        .collect();
    let attached = Attached {
        shown,
        on_exit,
        status_of: options.exit_code_from.clone(),
        timestamps: options.timestamps,
        timeout: options.timeout,
        watch: options.watch,
        menu: options.menu.unwrap_or_else(|| flags::is_on("COMPOSE_MENU"))
            && terminal::stdin_is_terminal()
            && terminal::stdout_is_terminal(),
    };
    attached::run(context, &work, &up, &attached).await
}
