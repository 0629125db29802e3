//! The owner of one container: everybody else sends it commands.

use super::health::{Checking, next_result};
use super::start::Left;
use super::{Collaborators, Handle, Registry, View};
use crate::clock::now_ns;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use wharf_failpoint::failpoint;
use wharf_model::backoff::Backoff;
use wharf_model::container::{ContainerRecord, EndpointSpec, RestartPolicy};
use wharf_model::ids::is_valid_name;
use wharf_model::launcher::{ExitStatus, MonitorEvent, StreamSet, Watch};
use wharf_model::ports::PortMapping;
use wharf_model::records::{Change, Durability, RecordKind};
use wharf_model::state::{Event, Status, step};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::runtime_spec::Resources;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// What shall be different about a container.
pub struct Update {
    /// Limits; what is left open stays.
    pub resources: Resources,
    /// What happens when it ends, if that shall be different.
    pub restart: Option<RestartPolicy>,
    /// What is published from now on, if that shall be different.
    pub ports: Option<Vec<PortMapping>>,
    /// What the edge was asked for, in place of [`wharf_model::container::ContainerSpec::origin`].
    pub origin: serde_json::Value,
}

/// What a container can be told.
pub enum Command {
    /// Run.
    Start(Reply<()>),
    /// End, politely first.
    Stop(StopRequest, Reply<()>),
    /// Get a signal.
    Kill(i32, Reply<()>),
    /// Lose the link of this name.
    Unlink(String, Reply<()>),
    /// Hold still (`true`) or go on.
    Pause(bool, Reply<()>),
    /// Be called otherwise.
    Rename(String, Reply<()>),
    /// Have other limits, and another restart policy.
    Update(Box<Update>, Reply<()>),
    /// Be in one more network.
    Connect(String, Box<EndpointSpec>, Reply<()>),
    /// Be in one less; `true` also when the network is gone.
    Disconnect(String, bool, Reply<()>),
    /// Give a client its streams.
    Attach(StreamSet, Reply<oneshot::Receiver<UnixStream>>),
    /// Go.
    Remove {
        /// Also when it runs.
        force: bool,
        /// With its anonymous volumes.
        volumes: bool,
        /// The answer.
        reply: Reply<()>,
    },
}

impl Command {
    /// Whether the container is to end with it.
    pub(super) fn is_an_end(&self) -> bool {
        matches!(self, Self::Stop(..) | Self::Kill(9, _) | Self::Remove { force: true, .. })
    }
}

/// How a container is asked to end.
#[derive(Debug, Clone, Copy, Default)]
pub struct StopRequest {
    /// The signal; `None` is the container's own.
    pub signal: Option<i32>,
    /// Seconds until SIGKILL, negative for never; `None` is the container's own.
    pub timeout_s: Option<i64>,
}

/// Docker's time between the stop signal and SIGKILL.
const STOP_TIMEOUT_S: i64 = 10;
/// How long a killed container may take to end before the caller is told that it did not.
const KILL_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Actor {
    pub(super) shared: Arc<Collaborators>,
    pub(super) registry: Registry,
    pub(super) record: ContainerRecord,
    pub(super) watch: Option<Watch>,
    /// Clients that wait for the start.
    pub(super) attaching: Vec<(StreamSet, oneshot::Sender<UnixStream>)>,
    view: watch::Sender<View>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    /// What it was told during a start.
    pub(super) deferred: VecDeque<Command>,
    /// When a start that takes long is given up, for the container is to end.
    pub(super) abandon_at: Option<Instant>,
    exits: u64,
    /// Those who wait for the end.
    stopping: Vec<Reply<()>>,
    /// Somebody asked for a stop, which is told when it has ended.
    stop_asked: bool,
    kill_at: Option<Instant>,
    give_up_at: Option<Instant>,
    removing: Option<(bool, Reply<()>)>,
    pub(super) restart_at: Option<Instant>,
    /// It is stopped to be started again.
    pub(super) restart_wanted: bool,
    pub(super) checking: Option<Checking>,
    pub(super) backoff: Backoff,
    removed: bool,
}

impl Actor {
    pub(super) fn spawn(
        shared: Arc<Collaborators>,
        registry: Registry,
        record: ContainerRecord,
        watch: Option<Watch>,
    ) -> Handle {
        let (sender, commands) = mpsc::unbounded_channel();
        let first = View { record: Arc::new(record.clone()), exits: 0, removed: false };
        let (view, receiver) = watch::channel(first);
        let id = record.id.clone();
        let actor = Self {
            shared,
            registry,
            record,
            watch,
            attaching: Vec::new(),
            view,
            commands,
            deferred: VecDeque::new(),
            abandon_at: None,
            exits: 0,
            stopping: Vec::new(),
            stop_asked: false,
            kill_at: None,
            give_up_at: None,
            removing: None,
            restart_at: None,
            restart_wanted: false,
            checking: None,
            backoff: Backoff::default(),
            removed: false,
        };
        if actor.record.spec.log.is_remote() {
            let file = actor.shared.log_file(&actor.record.id);
            tokio::spawn(crate::logs::remote::ship(file, receiver.clone()));
        }
        tokio::spawn(actor.run());
        Handle { id, commands: sender, view: receiver }
    }

    async fn run(mut self) {
        self.follow_health();
        if self.watch.is_some() {
            self.backoff.began(std::time::Instant::now());
        }
        while !self.removed {
            if let Some(command) = self.deferred.pop_front() {
                self.obey(command).await;
                continue;
            }
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                event = next_event(&mut self.watch) => self.heard(event).await,
                probe = next_result(&mut self.checking) => self.checked(probe).await,
                () = at(self.kill_at) => self.kill_now().await,
                () = at(self.give_up_at) => self.give_up(),
                () = at(self.restart_at) => self.restart().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        // A caller that went away needs no answer.
        match command {
            Command::Start(reply) => {
                self.record.stopped_by_user = false;
                let result = self.start().await;
                let _ = reply.send(result);
            }
            Command::Stop(request, reply) => self.stop(request, reply).await,
            Command::Kill(signal, reply) => match self.kill(signal).await {
                // As with Docker, what was killed for good is ended when the answer comes.
                Ok(()) if signal == 9 => {
                    self.give_up_at = Some(Instant::now() + KILL_LIMIT);
                    self.stopping.push(reply);
                }
                result => drop(reply.send(result)),
            },
            Command::Pause(paused, reply) => {
                let result = self.pause(paused).await;
                let _ = reply.send(result);
            }
            Command::Rename(name, reply) => drop(reply.send(self.rename(name))),
            Command::Update(update, reply) => {
                let result = self.update(*update).await;
                let _ = reply.send(result);
            }
            Command::Connect(network, wish, reply) => {
                drop(reply.send(self.connect_network(&network, *wish).await));
            }
            Command::Disconnect(network, force, reply) => {
                drop(reply.send(self.disconnect_network(&network, force).await));
            }
            Command::Unlink(alias, reply) => drop(reply.send(self.unlink(&alias))),
            Command::Attach(streams, reply) => drop(reply.send(self.attach(streams).await)),
            Command::Remove { force, volumes, reply } => self.remove_on_request(force, volumes, reply).await,
        }
    }

    /// Keeps the record and shows it.
    pub(super) fn commit(&mut self) -> Result<()> {
        let saved = self.shared.save(&self.record);
        self.show();
        saved
    }

    pub(super) fn show(&self) {
        let view = View { record: Arc::new(self.record.clone()), exits: self.exits, removed: self.removed };
        self.view.send_replace(view);
    }

    pub(super) fn step(&mut self, event: Event) -> Result<()> {
        self.record.status = step(self.record.status, event, &self.record.name)?;
        Ok(())
    }

    async fn heard(&mut self, event: MonitorEvent) {
        match event {
            MonitorEvent::Exited(exit) => self.exited(exit, Left::ByMonitor).await,
            MonitorEvent::Lost(Some(exit)) => self.exited(exit, Left::Behind).await,
            MonitorEvent::Lost(None) => {
                tracing::warn!(container = %self.record.id, "the monitor died; the container is ended");
                let exit = ExitStatus { code: 137, at_ns: now_ns(), oom_killed: false };
                self.exited(exit, Left::Behind).await;
            }
            MonitorEvent::ExecExited { id, code } => {
                if let Some(exec) = self.shared.execs.ended(&id, code) {
                    let code = [("exitCode", code.to_string())];
                    self.shared.publish_exec("exec_die", &self.record, &exec, &code);
                }
            }
            MonitorEvent::Warning(message) => tracing::warn!(container = %self.record.id, "{message}"),
            MonitorEvent::Failed { message, .. } => {
                tracing::warn!(container = %self.record.id, "{message}");
                self.exited(ExitStatus { code: 128, at_ns: now_ns(), oom_killed: false }, Left::Behind).await;
            }
            MonitorEvent::Running { pid } => self.record.pid = pid,
            MonitorEvent::Cloned { .. } | MonitorEvent::Ready => {}
        }
    }

    /// The container's first process ended.
    async fn exited(&mut self, exit: ExitStatus, left: Left) {
        failpoint!("end.heard");
        self.watch = None;
        if let Err(e) = self.step(Event::Exited) {
            tracing::warn!("{}", e.full());
        }
        self.record.pid = 0;
        self.record.exit_code = exit.code;
        self.record.oom_killed = exit.oom_killed;
        self.record.finished_ns = exit.at_ns;
        self.record.error.clear();
        self.exits += 1;
        self.end_health();
        self.shared.execs.container_ended(&self.record.id);
        self.release(left).await;
        self.shared.publish_end(&self.record);
        if std::mem::take(&mut self.stop_asked) {
            self.shared.publish("stop", &self.record, &[]);
        }
        (self.kill_at, self.give_up_at) = (None, None);
        self.plan_restart();
        let goes = self.record.spec.auto_remove && self.record.status == Status::Exited;
        if goes || self.removing.is_some() {
            // The removal keeps the record itself. After a crash before that, the container is one without a monitor.
            self.show();
        } else if let Err(e) = self.commit() {
            tracing::error!(container = %self.record.id, "keep the exit: {}", e.full());
        }
        failpoint!("end.kept");
        for reply in self.stopping.drain(..) {
            // A caller that went away needs no answer.
            let _ = reply.send(Ok(()));
        }
        if let Some((volumes, reply)) = self.removing.take() {
            let result = self.remove(volumes).await;
            let _ = reply.send(result);
        } else if goes && let Err(e) = self.remove(true).await {
            tracing::error!(container = %self.record.id, "remove: {}", e.full());
        }
    }

    /// Decides whether and when the restart policy starts it again.
    fn plan_restart(&mut self) {
        let next = self.backoff.ended(std::time::Instant::now());
        if std::mem::take(&mut self.restart_wanted)
            && !self.record.stopped_by_user
            && self.removing.is_none()
            && self.step(Event::Backoff).is_ok()
        {
            self.restart_at = Some(Instant::now());
            return;
        }
        let again = !self.record.stopped_by_user
            && self.removing.is_none()
            && match self.record.spec.restart {
                RestartPolicy::No => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure(most) => has_tries_left(&self.record, most),
            };
        if !again || self.step(Event::Backoff).is_err() {
            return;
        }
        self.restart_at = Some(next.into());
    }

    async fn restart(&mut self) {
        self.restart_at = None;
        self.record.restart_count += 1;
        if let Err(e) = self.start().await {
            tracing::warn!(container = %self.record.id, "restart: {}", e.full());
            self.plan_restart();
            self.show();
        }
    }

    /// A restart that was planned does not happen.
    fn call_off_restart(&mut self) {
        self.restart_at = None;
        if self.record.status == Status::Restarting {
            // From this status it always can.
            let _ = self.step(Event::GiveUp);
        }
    }

    async fn stop(&mut self, request: StopRequest, reply: Reply<()>) {
        self.record.stopped_by_user = true;
        if self.record.status == Status::Restarting {
            self.call_off_restart();
            self.shared.publish("stop", &self.record, &[]);
            let _ = reply.send(self.commit());
            return;
        }
        if !self.record.status.is_running() {
            let message = format!("container {} is not running", self.record.name);
            let _ = reply.send(Err(Error::new(ErrorKind::NotModified, message)));
            return;
        }
        if let Err(e) = self.ask_to_stop(request).await {
            let _ = reply.send(Err(e));
            return;
        }
        self.stop_asked = true;
        self.stopping.push(reply);
    }

    pub(super) async fn ask_to_stop(&mut self, request: StopRequest) -> Result<()> {
        if let Err(e) = self.shared.save(&self.record) {
            tracing::warn!("{}", e.full());
        }
        if self.record.status == Status::Paused {
            self.pause(false).await?;
        }
        let own = self.shared.launcher.signal_number(self.record.stop_signal());
        let signal = request.signal.or(own).unwrap_or(15);
        let timeout = request.timeout_s.or(self.record.spec.stop_timeout).unwrap_or(STOP_TIMEOUT_S);
        failpoint!("stop.kept");
        self.signal(signal).await?;
        failpoint!("stop.signalled");
        // Of several requests the most impatient counts.
        let kill_at = u64::try_from(timeout).ok().map(|s| Instant::now() + Duration::from_secs(s));
        self.kill_at = self.kill_at.into_iter().chain(kill_at).min();
        Ok(())
    }

    pub(super) async fn signal(&mut self, signal: i32) -> Result<()> {
        match self.shared.launcher.signal(&self.record.id, signal).await {
            // It ended this very moment: the event is on its way.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => {
                self.shared.publish("kill", &self.record, &[("signal", signal.to_string())]);
                other
            }
        }
    }

    async fn kill_now(&mut self) {
        self.kill_at = None;
        self.give_up_at = Some(Instant::now() + KILL_LIMIT);
        failpoint!("kill.wanted");
        if let Err(e) = self.signal(9).await {
            tracing::warn!(container = %self.record.id, "kill: {}", e.full());
        }
    }

    fn give_up(&mut self) {
        self.give_up_at = None;
        let message = || Error::internal(format!("container {} did not end after SIGKILL", self.record.name));
        for reply in self.stopping.drain(..) {
            let _ = reply.send(Err(message()));
        }
        if let Some((_, reply)) = self.removing.take() {
            let _ = reply.send(Err(message()));
        }
    }

    async fn kill(&mut self, signal: i32) -> Result<()> {
        if !self.record.status.is_running() {
            return Err(Error::conflict(format!(
                "cannot kill container: {}: container {} is not running",
                self.record.name, self.record.id
            )));
        }
        let deadly =
            signal == 9 || Some(signal) == self.shared.launcher.signal_number(self.record.stop_signal());
        if deadly {
            self.record.stopped_by_user = true;
        }
        if signal == 9 && self.record.status == Status::Paused {
            // A frozen process does not even die (cgroup version 1).
            self.pause(false).await?;
        }
        self.signal(signal).await
    }

    async fn pause(&mut self, paused: bool) -> Result<()> {
        let event = if paused { Event::Pause } else { Event::Unpause };
        let next = step(self.record.status, event, &self.record.name)?;
        let cgroup = self.shared.cgroup_of(&self.record);
        self.shared.launcher.freeze(&self.record.id, &cgroup, paused).await?;
        self.record.status = next;
        self.follow_health();
        self.shared.publish(if paused { "pause" } else { "unpause" }, &self.record, &[]);
        self.commit()
    }

    fn rename(&mut self, name: String) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(&name).to_owned();
        if !is_valid_name(&name) {
            return Err(Error::invalid(format!(
                "Error when allocating new name: Invalid container name (/{name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        if name == self.record.name {
            return Err(Error::invalid("Renaming a container with the same name as its current name"));
        }
        let kind = RecordKind::Container;
        let id = self.record.id.to_string();
        let claim = Change::Claim { kind, name: name.clone(), id };
        let release = Change::Release { kind, name: self.record.name.clone() };
        match self.shared.records.commit(vec![claim, release], Durability::Process) {
            Err(e) if e.kind() == ErrorKind::Conflict => {
                let taken = self.shared.taken(&name)?;
                return Err(Error::conflict(format!("Error when allocating new name: {taken}")));
            }
            done => done?,
        }
        let old = std::mem::replace(&mut self.record.name, name);
        self.shared.publish("rename", &self.record, &[("oldName", format!("/{old}"))]);
        self.commit()
    }

    async fn update(&mut self, update: Update) -> Result<()> {
        let Update { resources: mut changes, restart, ports, origin } = update;
        swap_with_memory(&self.record.spec.resources, &mut changes)?;
        // First what may be refused for want of a free port: then nothing else has changed.
        if let Some(ports) = ports {
            self.republish(ports).await?;
        }
        if self.record.status.is_running() {
            self.shared.launcher.update(&self.shared.cgroup_of(&self.record), &changes).await?;
        }
        super::start::merge_resources(&mut self.record.spec.resources, changes);
        if let Some(restart) = restart {
            self.record.spec.restart = restart;
        }
        self.record.spec.origin = origin;
        self.shared.publish("update", &self.record, &[]);
        self.commit()
    }

    /// Forgets a link; what is told of it already stays until the next start.
    fn unlink(&mut self, alias: &str) -> Result<()> {
        let links = &mut self.record.spec.links;
        let before = links.len();
        links.retain(|link| link.alias != alias);
        if links.len() == before {
            return Err(Error::not_found(format!("No such link: /{}/{alias}", self.record.name)));
        }
        self.commit()
    }

    async fn attach(&mut self, streams: StreamSet) -> Result<oneshot::Receiver<UnixStream>> {
        let (sender, receiver) = oneshot::channel();
        match self.record.status {
            Status::Paused => {
                return Err(Error::conflict(format!(
                    "container {} is paused, unpause the container before attach",
                    self.record.name
                )));
            }
            Status::Running => {
                let stream = self.shared.launcher.attach(&self.record.id, streams).await?;
                // A client that went away needs no streams.
                let _ = sender.send(stream);
            }
            _ => self.attaching.push((streams, sender)),
        }
        self.shared.publish("attach", &self.record, &[]);
        Ok(receiver)
    }

    async fn remove_on_request(&mut self, force: bool, volumes: bool, reply: Reply<()>) {
        if let Err(e) = step(self.record.status, Event::Remove { force }, &self.record.name) {
            let _ = reply.send(Err(e));
            return;
        }
        self.call_off_restart();
        if !self.record.status.is_running() {
            let result = self.remove(volumes).await;
            let _ = reply.send(result);
            return;
        }
        self.record.stopped_by_user = true;
        self.removing = Some((volumes, reply));
        let thawed = if self.record.status == Status::Paused { self.pause(false).await } else { Ok(()) };
        match thawed {
            Ok(()) => self.kill_now().await,
            Err(e) => {
                if let Some((_, reply)) = self.removing.take() {
                    let _ = reply.send(Err(e));
                }
            }
        }
    }

    /// Marks the container as gone.
    pub(super) fn gone(&mut self) {
        self.removed = true;
        self.registry.forget(&self.record.id);
        self.show();
    }
}

/// A memory limit alone leaves that of memory and swap as it is, if there is one.
fn swap_with_memory(now: &Resources, changes: &mut Resources) -> Result<()> {
    let Some(changed) = changes.memory.as_mut() else { return Ok(()) };
    let (Some(limit), None) = (changed.limit, changed.swap) else { return Ok(()) };
    match now.memory.as_ref().and_then(|m| m.swap) {
        Some(swap @ 1..) if limit > swap => Err(Error::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        )),
        Some(_) => Ok(()),
        None => {
            changed.swap = Some(limit.saturating_mul(2));
            Ok(())
        }
    }
}

async fn next_event(watch: &mut Option<Watch>) -> MonitorEvent {
    match watch {
        Some(watch) => watch.events.recv().await.unwrap_or(MonitorEvent::Lost(None)),
        None => std::future::pending().await,
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Whether a container failed, and may be started again `most` times, 0 being always.
pub(super) fn has_tries_left(record: &ContainerRecord, most: u32) -> bool {
    record.exit_code != 0 && (most == 0 || record.restart_count < most)
}
