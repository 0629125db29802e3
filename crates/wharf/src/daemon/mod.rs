//! `wharf daemon`: wires the engine and serves its API.

mod config;
mod engine;
mod file;
mod idle;
mod registries;
mod registry;
mod reload;
mod socket;
mod steps;
mod subids;

use anyhow::Context;
pub(crate) use config::DEFAULT_SOCKET;
use config::{Args, Config};
use engine::Engine;
use reload::Reload;
use std::ffi::OsString;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use wharf_docker_server as server;
use wharf_sys::memory;

/// Its command line, for completion and manual pages.
pub(crate) fn command() -> clap::Command {
    <Args as clap::CommandFactory>::command().name("daemon")
}

/// Runs until SIGTERM or SIGINT. Returns the exit code.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let (mut config_args, matches) = match Args::parse(&args) {
        Ok(parsed) => parsed,
        Err(e) => {
            let _ = e.print();
            return e.exit_code();
        }
    };
    if config_args.print_apparmor_profile {
        return print_profile();
    }
    let merged = file::merge(&mut config_args, &matches);
    let levels = log_to_stderr(config_args.debug);
    match merged.and_then(|()| run(config_args, Reload { args, levels })) {
        Ok(()) => 0,
        Err(e) => {
            tracing::error!("{e:#}");
            1
        }
    }
}

/// An AppArmor profile for containers, in the language of apparmor_parser.
const PROFILE: &str = include_str!("docker-default.apparmor");

fn print_profile() -> i32 {
    use std::io::Write;
    i32::from(std::io::stdout().write_all(PROFILE.as_bytes()).is_err())
}

/// Returns what changes later how much is logged.
fn log_to_stderr(debug: bool) -> reload::Levels {
    use std::io::IsTerminal;
    let filter = |debug: bool| {
        tracing_subscriber::EnvFilter::new(if debug {
            "info,wharf=debug,wharf_engine=debug,wharf_docker_server=debug,wharf_network=debug"
        } else {
            "info"
        })
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(debug))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    subscriber.init();
    Box::new(move |debug| {
        if let Err(e) = handle.reload(filter(debug)) {
            tracing::warn!("change what is logged: {e}");
        }
    })
}

fn run(args: Args, reload: Reload) -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "the engine needs root: it makes namespaces, mounts and networks. Run it with sudo"
    );
    let config = Config::from_args(args)?;
    if let Some(map) = &config.remap {
        // Before there are threads: it is tried in a process of its own.
        std::fs::create_dir_all(&config.data_root)
            .with_context(|| format!("make {}", config.data_root.display()))?;
        wharf_runtime::userns::probe(&config.data_root, &map.uids, &map.gids)
            .map_err(|e| anyhow::anyhow!("--userns-remap: {}", e.message))?;
    }
    memory::share_one_heap();
    // Work is short and mostly the kernel's: two threads serve any load that two cores can, and each costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().min(4)))
        .max_blocking_threads(64)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(config, reload))
}

/// How long build steps may take to end with the engine: they are killed.
const STEPS_END: std::time::Duration = std::time::Duration::from_secs(10);

async fn serve(config: Config, reload: Reload) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let engine = Engine::open(&config).await?;
    let mut listeners = Vec::new();
    for host in &config.hosts {
        listeners.push(socket::open(host).await?);
    }
    let mut registry = registry::Served::start(&config).await?;
    let pid_file = config.exec_root.join("wharf.pid");
    std::fs::write(&pid_file, std::process::id().to_string())
        .with_context(|| format!("write {}", pid_file.display()))?;
    if config.tell_ready {
        use std::io::Write;
        // Whoever started us may be gone again.
        let _ = writeln!(std::io::stdout(), "ready");
    }
    let activity = Arc::new(Notify::new());
    activity.notify_one();
    tokio::spawn(idle::give_memory_back(activity.clone()));
    tokio::spawn(engine.api.images.clone().keep_uses());
    tokio::spawn(engine.api.gc.clone().keep_running());
    let (running, _) = watch::channel(());
    let router = server::router(engine.api.clone());
    let mut serving = JoinSet::new();
    for listener in listeners {
        let mut end = running.subscribe();
        // The sender's end is the news.
        let shutdown = async move { drop(end.changed().await) };
        serving.spawn(server::serve(listener, router.clone(), activity.clone(), shutdown));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload.apply(&engine.api, registry.as_mut()),
        }
    }
    drop(running);
    while serving.join_next().await.is_some() {}
    if let Some(registry) = registry {
        registry.end().await;
    }
    tracing::info!("ending; running containers go on");
    engine.api.builder.ending.begin();
    if tokio::time::timeout(STEPS_END, engine.api.containers.steps_ended()).await.is_err() {
        tracing::warn!(
            "a build step did not end within {} s; it is cleaned up at the next start",
            STEPS_END.as_secs()
        );
    }
    for host in &config.hosts {
        socket::close(host);
    }
    engine.close(&config)?;
    // One that was not there to remove is no failure.
    let _ = std::fs::remove_file(&pid_file);
    Ok(())
}
