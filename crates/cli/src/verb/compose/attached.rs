//! `up` in the foreground: output of all containers, until all have ended or somebody says so.

use super::menu::{self, Key, Menu};
use super::watch::Builds;
use super::work::Work;
use crate::context::{Context, note};
use crate::failure::{Failure, Outcome};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use wharf_compose::Error;
use wharf_compose::plan::{Observed, label};
use wharf_compose::run::report::{Report, Stream};
use wharf_compose::run::{Run, Starting, container, logs, up};
use wharf_docker_api::client::{Call, Hijacked, Query};
use wharf_docker_api::types::container::Inspect;
use wharf_docker_api::types::system::Event;

/// What happens when a container ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExit {
    GoOn,
    Stop,
    StopOnFailure,
}

/// How it goes on in the foreground.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Services whose output is shown.
    pub(crate) shown: Vec<String>,
    pub(crate) on_exit: OnExit,
    /// The service whose status is ours.
    pub(crate) status_of: Option<String>,
    pub(crate) timestamps: bool,
    pub(crate) timeout: Option<i64>,
    pub(crate) watch: bool,
    /// Keys are taken, and the terminal has a line that tells them.
    pub(crate) menu: bool,
}

/// Why it goes on no longer.
enum End {
    /// All have ended, or one that ends all.
    Exited,
    Interrupted,
    Detached,
}

/// Status of a command that Ctrl-C ended, as shells count.
const INTERRUPTED: i32 = 130;

type Task<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// Joins containers before they start.
struct Joining<'a> {
    context: &'a Context,
    joins: mpsc::UnboundedSender<(Observed, Hijacked)>,
}

impl Starting for Joining<'_> {
    fn before<'f>(&'f self, one: &'f Observed) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'f>> {
        Box::pin(async move {
            let query = Query::new().with("stream", 1).with("stdout", 1).with("stderr", 1);
            let connection =
                self.context.client.hijack(Call::post(container(&one.id, "/attach")).query(query)).await?;
            // Nobody takes it any more: the command is about to end.
            let _ = self.joins.send((one.clone(), connection));
            Ok(())
        })
    }
}

struct Going<'a> {
    run: Run<'a>,
    work: &'a Work,
    how: &'a Attached,
    /// Containers that run, by id.
    running: BTreeMap<String, Observed>,
    tasks: FuturesUnordered<Task<'a>>,
    /// When containers ended last, in the engine's time: what they write after a restart is from then on.
    ended_at: BTreeMap<String, String>,
    /// What the one that ended first, or the one that was named, ended with.
    status: i32,
}

pub(crate) async fn run(context: &Context, work: &Work, options: &up::Options, how: &Attached) -> Outcome {
    let failed = |e| Failure::new(format!("listen to signals: {e}"));
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminates = signal(SignalKind::terminate()).map_err(failed)?;
    let (joins, mut joined) = mpsc::unbounded_channel();
    let starting = Joining { context, joins };
    let run = Run { starting: Some(&starting), ..work.run(context) };
    let of = format!("{}={}", label::PROJECT, work.loaded.project.name);
    let query = Query::new().filters([("type", "container"), ("label", of.as_str())]);
    let mut events = context.client.stream(Call::get("/events").query(query)).await?.json::<Event>();
    let mut going = Going {
        run,
        work,
        how,
        running: BTreeMap::new(),
        tasks: FuturesUnordered::new(),
        ended_at: BTreeMap::new(),
        status: 0,
    };
    let mut up = Box::pin(run.up(options));
    let (mut is_up, mut stops) = (false, false);
    let watch = |on: bool| -> Task<'_> {
        match on {
            true => Box::pin(super::watch::run_for(context, work, Builds { prune: true, quiet: false })),
            false => Box::pin(std::future::pending()),
        }
    };
    let (mut watches, mut menu) = (how.watch, None::<Menu>);
    let mut watching = watch(watches);
    let ended = loop {
        tokio::select! {
            biased;
            _ = interrupts.recv() => break End::Interrupted,
            _ = terminates.recv() => break End::Interrupted,
            key = menu::key(menu.as_mut()) => match key {
                Key::Detach => break End::Detached,
                Key::Watch if !super::watch::is_configured(work) => menu::nothing_to_watch(),
                Key::Watch => {
                    watches = !watches;
                    watching = watch(watches);
                    if let Some(menu) = &mut menu {
                        menu.watches(watches);
                    }
                }
            },
            made = &mut up, if !is_up => {
                is_up = true;
                let made = made?;
                work.screen.settle();
                going.already_running(&made).await?;
                if stops || going.running.is_empty() {
                    break End::Exited;
                }
                menu = how.menu.then(|| Menu::show(watches)).transpose()?;
            }
            Some((one, connection)) = joined.recv() => going.follow(one, connection),
            event = events.next() => {
                let Some(event) = event? else { return Err(Failure::new("the engine ended its events")) };
                // One may end while others are still to start.
                stops |= going.take(&event).await?;
                if is_up && (stops || going.running.is_empty()) {
                    break End::Exited;
                }
            }
            Some(done) = going.tasks.next(), if !going.tasks.is_empty() => done?,
            watched = &mut watching, if is_up => watched?,
        }
    };
    drop((up, menu));
    match ended {
        End::Detached => Ok(0),
        End::Interrupted => {
            note("Gracefully Stopping... press Ctrl+C again to force");
            while let Ok((one, connection)) = joined.try_recv() {
                going.follow(one, connection);
            }
            going.stop_all(&mut interrupts).await?;
            Ok(INTERRUPTED)
        }
        End::Exited => {
            // What was written last still comes.
            if going.running.is_empty() {
                while let Some(done) = going.tasks.next().await {
                    done?;
                }
            } else {
                note("Aborting on container exit...");
                going.stop_all(&mut interrupts).await?;
            }
            Ok(going.status)
        }
    }
}

impl<'a> Going<'a> {
    /// Takes in an event; whether all is to end now.
    async fn take(&mut self, event: &Event) -> Result<bool, Failure> {
        let labels = &event.actor.attributes;
        let service = labels.get(label::SERVICE).map_or("", String::as_str);
        let is_one_off = labels.get(label::ONE_OFF).is_some_and(|one_off| one_off == "True");
        if is_one_off || !self.work.loaded.project.services.contains_key(service) {
            return Ok(false);
        }
        let one = Observed {
            id: event.actor.id.clone(),
            name: labels.get("name").cloned().unwrap_or_default(),
            labels: labels.clone(),
            ..Observed::default()
        };
        match event.action.as_str() {
            // One that we start is joined before; the engine's own restarts are not ours.
            "start" => match self.ended_at.remove(&one.id) {
                Some(since) => self.join(one, Some(since)),
                None => drop(self.running.insert(one.id.clone(), one)),
            },
            "die" => {
                let at =
                    format!("{}.{:09}", event.time_nano / 1_000_000_000, event.time_nano % 1_000_000_000);
                self.ended_at.insert(one.id.clone(), at);
                return self
                    .ended(one, labels.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(0))
                    .await;
            }
            "rename" => {
                if let Some(known) = self.running.get_mut(&one.id) {
                    known.name.clone_from(&one.name);
                }
            }
            _ => {}
        }
        Ok(false)
    }

    async fn already_running(&mut self, made: &BTreeMap<String, Vec<Observed>>) -> Result<(), Failure> {
        for one in made.values().flatten().filter(|one| one.is_running()) {
            if !self.running.contains_key(&one.id) {
                self.join(one.clone(), None);
            }
        }
        // What ended while it was started has had its event, or has it still to come.
        let names = self.running.values().map(Observed::short_name).collect::<Vec<_>>();
        self.work.screen.sources(names.iter().map(String::as_str));
        Ok(())
    }

    /// Shows what a container that was joined before its start writes.
    fn follow(&mut self, one: Observed, connection: Hijacked) {
        let shown = self.how.shown.iter().any(|name| name == one.service());
        self.ended_at.remove(&one.id);
        self.running.insert(one.id.clone(), one.clone());
        if shown {
            self.work.screen.sources([one.short_name().as_str()]);
            let (run, timestamps) = (self.run, self.how.timestamps);
            self.tasks.push(Box::pin(async move { run.show(&one, connection, timestamps).await }));
        }
    }

    fn join(&mut self, one: Observed, since: Option<String>) {
        let shown = self.how.shown.iter().any(|name| name == one.service());
        self.running.insert(one.id.clone(), one.clone());
        if !shown {
            return;
        }
        self.work.screen.sources([one.short_name().as_str()]);
        let run = self.run;
        let options = logs::Options {
            follow: true,
            tail: if since.is_some() { "all" } else { "0" }.into(),
            since,
            until: None,
            timestamps: self.how.timestamps,
        };
        self.tasks.push(Box::pin(async move {
            match run.logs(&one, &options).await {
                // Logs that cannot be read, or a container that is gone already: its end is told anyway.
                Err(Error::Engine { source, .. }) if source.status().is_some() => {
                    match run.follow(&one).await {
                        Err(Error::Engine { source, .. }) if source.status().is_some() => Ok(()),
                        other => other,
                    }
                }
                other => other,
            }
        }));
    }

    async fn ended(&mut self, one: Observed, code: i32) -> Result<bool, Failure> {
        let known = self.running.remove(&one.id);
        let is_again = match self.run.client.json::<Inspect>(Call::get(container(&one.id, "/json"))).await {
            Ok(now) => now.state.restarting || now.state.running,
            Err(_) => false,
        };
        if self.how.shown.iter().any(|name| name == one.service()) && known.is_some() {
            let again = if is_again { " (restarting)" } else { "" };
            self.work.screen.line(
                &one.short_name(),
                &format!("exited with code {code}{again}"),
                Stream::Note,
            );
        }
        if is_again {
            self.running.insert(one.id.clone(), one);
            return Ok(false);
        }
        if known.is_none() {
            return Ok(false);
        }
        let stops = match self.how.on_exit {
            OnExit::GoOn => false,
            OnExit::Stop => true,
            OnExit::StopOnFailure => code != 0,
        };
        if stops || self.how.status_of.as_deref() == Some(one.service()) {
            match &self.how.status_of {
                Some(name) if name == one.service() => self.status = code,
                Some(_) => {}
                None => self.status = code,
            }
        }
        Ok(stops)
    }

    /// Stops what runs; a second Ctrl-C kills it. The last output is shown.
    async fn stop_all(&mut self, interrupts: &mut tokio::signal::unix::Signal) -> Result<(), Failure> {
        let found = self.run.of_services(&[]).await?;
        // One whose start was asked for may not be said to run yet.
        let is_meant = |one: &Observed| one.is_alive() || self.running.contains_key(&one.id);
        let running: Vec<Observed> = found.into_iter().filter(is_meant).collect();
        let run = self.run;
        {
            let mut stop = Box::pin(run.stop_services(&running, self.how.timeout));
            loop {
                tokio::select! {
                    stopped = &mut stop => {
                        stopped?;
                        break;
                    }
                    Some(done) = self.tasks.next(), if !self.tasks.is_empty() => done?,
                    _ = interrupts.recv() => {
                        for one in &running {
                            let call = Call::post(container(&one.id, "/kill"));
                            // It may have ended by itself just now.
                            let _ = run.one(one, ("Killing", "Killed"), call).await;
                        }
                        break;
                    }
                }
            }
        }
        if let Some(name) = &self.how.status_of
            && let Some(one) = running.iter().find(|one| one.service() == name)
            && let Ok(now) = self.run.client.json::<Inspect>(Call::get(container(&one.id, "/json"))).await
        {
            self.status = i32::try_from(now.state.exit_code).unwrap_or(1);
        }
        while let Some(done) = self.tasks.next().await {
            done?;
        }
        Ok(())
    }
}
