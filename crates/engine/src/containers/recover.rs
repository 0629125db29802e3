//! A new engine process finds the containers of the one before.

use super::Containers;
use super::actor::{Actor, has_tries_left};
use crate::clock::now_ns;
use futures_util::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use wharf_failpoint::failpoint;
use wharf_model::container::{ContainerRecord, RestartPolicy};
use wharf_model::launcher::{ExitStatus, MonitorEvent, Watch};
use wharf_model::network::Endpoint;
use wharf_model::records::RecordKind;
use wharf_model::state::Status;
use wharf_model::{Error, ErrorKind, Result};

/// Containers that are taken over at once: each costs a descriptor or two.
const AT_ONCE: usize = 64;
/// How long a monitor may take to say what its container does; it answers within a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

impl Containers {
    /// Takes every recorded container over: running ones go on, those that ended meanwhile have their exit
    /// code, half-made ones are undone. Returns the ids of all that are left.
    pub async fn recover(self: &Arc<Self>) -> Result<()> {
        let mut records = Vec::new();
        for (id, body) in self.shared.records.list(RecordKind::Container)? {
            let record: ContainerRecord = serde_json::from_slice(&body).map_err(|e| {
                Error::wrap(ErrorKind::Internal, format!("read the record of container {id}"), e)
            })?;
            records.push(record);
        }
        let known: Vec<String> = records.iter().map(|r| r.id.to_string()).collect();
        failpoint!("recover.read");
        self.shared.sweep_directories(&known)?;
        self.shared.sweep_snapshots(&known)?;
        failpoint!("recover.directories");
        // Side by side: monitors that do not answer must not add up.
        let found = futures_util::stream::iter(records.into_iter().map(|record| self.recover_one(record)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>();
        let to_start: Vec<_> = found.await?.into_iter().flatten().collect();
        failpoint!("recover.taken-over");
        self.shared.networks.sweep(&self.endpoints())?;
        failpoint!("recover.networks");
        self.shared.volumes.sweep()?;
        for id in to_start {
            let handle = self.find(id.as_str())?;
            tokio::spawn(async move {
                if let Err(e) = handle.start().await {
                    tracing::warn!(container = %handle.id(), "start by restart policy: {}", e.full());
                }
            });
        }
        Ok(())
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let records = self.list().into_iter().map(|h| h.record());
        records.flat_map(|r| r.endpoints.iter().map(|(_, e)| e.clone()).collect::<Vec<_>>()).collect()
    }

    async fn recover_one(&self, mut record: ContainerRecord) -> Result<Option<wharf_model::ContainerId>> {
        if record.status == Status::Removing || record.unfinished {
            self.shared.erase(&record, record.unfinished || record.takes_volumes)?;
            return Ok(None);
        }
        let mut watch = None;
        if matches!(record.status, Status::Starting | Status::Running | Status::Paused) {
            watch = self.take_over(&mut record).await?;
        }
        if watch.is_some() {
            // One that ends this very moment has no namespace any more; its end, which comes next, gives its places back.
            if let Err(e) = self.shared.networks.adopt(&record) {
                tracing::warn!(container = %record.id, "take its networks over: {}", e.full());
            }
            for mount in record.mounts.iter().filter(|m| m.kind == "volume") {
                if let Err(e) = self.shared.volumes.hold(&mount.name, &record.id) {
                    tracing::warn!(container = %record.id, "hold volume {}: {}", mount.name, e.full());
                }
            }
        }
        let id = record.id.clone();
        let again = watch.is_none() && comes_back(&record);
        if record.status == Status::Restarting {
            record.status = Status::Exited;
        }
        let removes = watch.is_none() && record.spec.auto_remove && record.status == Status::Exited;
        if removes {
            self.shared.erase(&record, true)?;
            self.shared.publish("destroy", &record, &[]);
            return Ok(None);
        }
        failpoint!("recover.one");
        self.shared.save(&record)?;
        self.insert(Actor::spawn(self.shared.clone(), self.registry.clone(), record, watch));
        Ok(again.then_some(id))
    }

    /// Finds the monitor, or the exit code it left.
    async fn take_over(&self, record: &mut ContainerRecord) -> Result<Option<Watch>> {
        let lost = ExitStatus { code: 137, at_ns: now_ns(), oom_killed: false };
        let mut known = true;
        let exit = match self.shared.launcher.adopt(&record.id).await? {
            None => {
                known = false;
                lost
            }
            Some(mut watch) => match first_state(&mut watch, record).await {
                Found::Running(pid) => {
                    record.pid = pid;
                    if record.status == Status::Starting {
                        record.started_ns = now_ns();
                    }
                    let cgroup = self.shared.cgroup_of(record);
                    let frozen = self.shared.launcher.is_frozen(&cgroup).await?;
                    record.status = if frozen { Status::Paused } else { Status::Running };
                    return Ok(Some(watch));
                }
                Found::Silent => {
                    tracing::warn!(container = %record.id, "its monitor does not answer: if it stays so, remove the container by force");
                    return Ok(Some(watch));
                }
                Found::Exited(exit) => exit,
                Found::Lost => {
                    known = false;
                    lost
                }
            },
        };
        if !known && record.status == Status::Starting {
            record.error = "the engine ended while it started the container: start it again".to_owned();
        }
        record.status = Status::Exited;
        record.pid = 0;
        record.exit_code = exit.code;
        record.finished_ns = exit.at_ns;
        record.oom_killed = exit.oom_killed;
        self.shared.publish_end(record);
        self.shared.networks.release(&record.endpoints, &record.published)?;
        self.shared.launcher.clean(&record.id, &self.shared.cgroup_of(record)).await?;
        record.endpoints.clear();
        record.published.clear();
        Ok(None)
    }
}

/// Whether the restart policy starts it with the engine, also by what happened while there was none.
fn comes_back(record: &ContainerRecord) -> bool {
    match record.spec.restart {
        _ if record.status == Status::Created => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !record.stopped_by_user,
        RestartPolicy::OnFailure(most) => {
            record.status == Status::Restarting || !record.stopped_by_user && has_tries_left(record, most)
        }
        RestartPolicy::No => false,
    }
}

/// What a monitor says about a container that is taken over.
enum Found {
    Running(i32),
    Exited(ExitStatus),
    Lost,
    /// Nothing, for too long.
    Silent,
}

/// Hears until it is clear what the container does: one between preparation and program comes to a decision by itself.
async fn first_state(watch: &mut Watch, record: &ContainerRecord) -> Found {
    let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
    loop {
        let Ok(event) = tokio::time::timeout_at(deadline, watch.events.recv()).await else {
            return Found::Silent;
        };
        match event {
            Some(MonitorEvent::Running { pid }) => return Found::Running(pid),
            Some(MonitorEvent::Exited(exit) | MonitorEvent::Lost(Some(exit))) => return Found::Exited(exit),
            Some(MonitorEvent::Warning(message)) => tracing::warn!(container = %record.id, "{message}"),
            Some(MonitorEvent::Cloned { .. } | MonitorEvent::Ready | MonitorEvent::ExecExited { .. }) => {}
            Some(MonitorEvent::Failed { .. } | MonitorEvent::Lost(None)) | None => return Found::Lost,
        }
    }
}
