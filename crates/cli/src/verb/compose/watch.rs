//! `compose watch`: changes of files come into containers.

mod notify;
mod rules;

use super::work::Work;
use crate::archive::pack::{self, Owner};
use crate::context::{Context, line, note};
use crate::failure::{Failure, Outcome};
use notify::Changes;
use rules::Rule;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wharf_compose::Error;
use wharf_compose::plan::{Observed, Recreate};
use wharf_compose::project::scalars::Words;
use wharf_compose::project::service::Hook;
use wharf_compose::run::{Run, build, container, images::Policy, up};
use wharf_docker_api::client::{Body, Call, Query};

/// Flags of `compose watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not make and start services before
    #[arg(long)]
    no_up: bool,
    /// Remove dangling images after a build
    #[arg(long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    prune: bool,
    /// Say nothing of builds
    #[arg(long)]
    quiet: bool,
    #[arg(value_name = "SERVICE", hide = true)]
    services: Vec<String>,
}

/// After the first change, how long others may follow and still be of the same save: editors write several files.
const SETTLE: Duration = Duration::from_millis(100);

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut work = Work::load(context)?;
    work.select(&options.services, true)?;
    work.prune();
    if rules::of(&work.loaded.project)?.is_empty() {
        return Err(Failure::new(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
        ));
    }
    if !options.no_up {
        let images = Policy { build: true, quiet_build: options.quiet, ..Policy::default() };
        let up = up::Options { images, ..up::Options::default() };
        work.run(context).up(&up).await?;
        work.screen.settle();
    }
    run_for(context, &work, Builds { prune: options.prune, quiet: options.quiet }).await?;
    Ok(0)
}

/// Whether any service says what of it is watched. Whether that makes sense is found out when it is.
pub(crate) fn is_configured(work: &Work) -> bool {
    let mut services = work.loaded.project.services.values();
    services.any(|service| service.develop.iter().any(|develop| !develop.watch.is_empty()))
}

/// How images are made anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Builds {
    /// Remove those that nobody has a name for afterwards.
    pub(crate) prune: bool,
    /// Say nothing of how it goes.
    pub(crate) quiet: bool,
}

/// Watches until somebody ends it.
pub(crate) async fn run_for(context: &Context, work: &Work, builds: Builds) -> Result<(), Error> {
    let rules = rules::of(&work.loaded.project)?;
    let run = work.run(context);
    let mut changes = Changes::of(rules.iter().map(|rule| rule.path.as_path())).map_err(failed)?;
    for rule in rules.iter().filter(|rule| rule.trigger.initial_sync && rule.syncs()) {
        let all = rule.files();
        sync(&run, rule, &all).await?;
    }
    say("Watch enabled");
    loop {
        let mut changed: BTreeSet<PathBuf> = changes.next().await.map_err(failed)?;
        // What belongs to one save comes within a moment, and what never ends is brought over all the same.
        let until = tokio::time::Instant::now() + SETTLE;
        while let Ok(more) = tokio::time::timeout_at(until, changes.next()).await {
            changed.extend(more.map_err(failed)?);
        }
        if let Err(error) = apply(&run, &rules, &changed, builds).await {
            // The next change may mend it.
            note(format!("watch: {error}"));
        }
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::project(format!("watch files: {error}"))
}

/// Tells what is done. A reader that went away hears nothing more, and the watch goes on.
fn say(text: impl std::fmt::Display) {
    let _ = line(text);
}

async fn apply(
    run: &Run<'_>,
    rules: &[Rule],
    changed: &BTreeSet<PathBuf>,
    builds: Builds,
) -> Result<(), Error> {
    let mut rebuilt: BTreeSet<&str> = BTreeSet::new();
    let mut restarted: BTreeSet<&str> = BTreeSet::new();
    for rule in rules {
        let files: Vec<&Path> =
            changed.iter().map(PathBuf::as_path).filter(|path| rule.matches(path)).collect();
        if files.is_empty() {
            continue;
        }
        match rule.trigger.action.as_str() {
            "rebuild" => drop(rebuilt.insert(&rule.service)),
            "restart" => drop(restarted.insert(&rule.service)),
            _ => {
                sync(run, rule, &files).await?;
                match rule.trigger.action.as_str() {
                    "sync+restart" => drop(restarted.insert(&rule.service)),
                    "sync+exec" => {
                        for one in running(run, &rule.service).await? {
                            run.exec(&one, &rule.trigger.exec.0).await?;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    for name in &rebuilt {
        say(format_args!("Rebuilding service {name:?} after changes were detected..."));
        let options = build::Options { quiet: builds.quiet, ..build::Options::default() };
        run.build_services(&[name], &options).await?;
    }
    if !rebuilt.is_empty() {
        let services: Vec<String> = rebuilt.iter().map(|name| (*name).to_owned()).collect();
        let up = up::Options { services, recreate_needed: Recreate::Never, ..up::Options::default() };
        run.up(&up).await?;
        if builds.prune {
            run.remove_dangling().await?;
        }
        rebuilt.iter().for_each(|name| say(format_args!("service {name:?} successfully built")));
    }
    let restarted: Vec<String> =
        restarted.into_iter().filter(|name| !rebuilt.contains(name)).map(str::to_owned).collect();
    if !restarted.is_empty() {
        run.restart_services(&restarted, None).await?;
        say(format_args!("service(s) {restarted:?} restarted"));
    }
    Ok(())
}

async fn running(run: &Run<'_>, service: &str) -> Result<Vec<Observed>, Error> {
    let all = run.of_services(&[service.to_owned()]).await?;
    Ok(all.into_iter().filter(Observed::is_running).collect())
}

/// Brings files into a service's containers, and takes away there what is gone here.
async fn sync(run: &Run<'_>, rule: &Rule, files: &[impl AsRef<Path>]) -> Result<(), Error> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut gone = Vec::new();
    let mut count = 0;
    for path in files.iter().map(AsRef::as_ref) {
        let target = rule.target(path);
        if path.symlink_metadata().is_err() {
            gone.push(target.display().to_string());
            continue;
        }
        let name = target.strip_prefix("/").unwrap_or(&target).to_owned();
        pack::add(&mut archive, path, &name, Owner::Kept).map_err(failed)?;
        count += 1;
    }
    let archive = archive.into_inner().map_err(failed)?;
    for one in running(run, &rule.service).await? {
        if count > 0 {
            let call = Call::put(container(&one.id, "/archive")).query(Query::new().with("path", "/"));
            run.client.done(call.body("application/x-tar", Body::full(archive.clone()))).await?;
        }
        if !gone.is_empty() {
            let words = ["rm", "-rf"].map(str::to_owned).into_iter().chain(gone.clone());
            let hook = Hook { command: Words(Some(words.collect())), ..Hook::default() };
            run.exec(&one, &hook).await?;
        }
    }
    say(format_args!(
        "Syncing service {:?} after {} changes were detected",
        rule.service,
        count + gone.len()
    ));
    Ok(())
}
