//! A new engine process finds the containers of the one before.

use super::Containers;
use super::actor::Actor;
use crate::clock::now_ns;
use std::sync::Arc;
use wharf_model::container::{ContainerRecord, RestartPolicy};
use wharf_model::launcher::{ExitStatus, MonitorEvent, Watch};
use wharf_model::network::Endpoint;
use wharf_model::records::RecordKind;
use wharf_model::state::Status;
use wharf_model::{Error, ErrorKind, Result};

impl Containers {
    /// Takes every recorded container over: running ones go on, those that ended meanwhile have their exit
    /// code, half-made ones are undone. Returns the ids of all that are left.
    pub async fn recover(self: &Arc<Self>) -> Result<()> {
        let mut to_start = Vec::new();
        for (id, body) in self.shared.records.list(RecordKind::Container)? {
            let record: ContainerRecord = serde_json::from_slice(&body).map_err(|e| {
                Error::wrap(ErrorKind::Internal, format!("read the record of container {id}"), e)
            })?;
            if let Some(id) = self.recover_one(record).await? {
                to_start.push(id);
            }
        }
        self.shared.networks.sweep(&self.endpoints())?;
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
        let unfinished = self.shared.snapshots.root(record.id.as_str()).is_err();
        if record.status == Status::Removing || (unfinished && record.status == Status::Created) {
            self.shared.erase(&record, true)?;
            return Ok(None);
        }
        let mut watch = None;
        if matches!(record.status, Status::Starting | Status::Running | Status::Paused) {
            watch = self.take_over(&mut record).await?;
        }
        if watch.is_some() {
            self.shared.networks.adopt(&record)?;
        }
        let id = record.id.clone();
        let again = watch.is_none()
            && match record.spec.restart {
                RestartPolicy::Always => true,
                RestartPolicy::UnlessStopped => !record.stopped_by_user,
                RestartPolicy::OnFailure(_) => record.status == Status::Restarting,
                RestartPolicy::No => false,
            }
            && record.status != Status::Created;
        if record.status == Status::Restarting {
            record.status = Status::Exited;
        }
        let removes = watch.is_none() && record.spec.auto_remove && record.status == Status::Exited;
        if removes {
            self.shared.erase(&record, true)?;
            return Ok(None);
        }
        self.shared.save(&record)?;
        self.insert(Actor::spawn(self.shared.clone(), self.registry.clone(), record, watch));
        Ok(again.then_some(id))
    }

    /// Finds the monitor, or the exit code it left.
    async fn take_over(&self, record: &mut ContainerRecord) -> Result<Option<Watch>> {
        let lost = ExitStatus { code: 137, at_ns: now_ns(), oom_killed: false };
        let exit = match self.shared.launcher.adopt(&record.id).await? {
            None => lost,
            Some(mut watch) => match watch.events.recv().await {
                Some(MonitorEvent::Running { pid }) => {
                    if record.status == Status::Starting {
                        record.status = Status::Running;
                        record.started_ns = now_ns();
                    }
                    record.pid = pid;
                    return Ok(Some(watch));
                }
                Some(MonitorEvent::Exited(exit)) => exit,
                _ => lost,
            },
        };
        record.status = Status::Exited;
        record.pid = 0;
        record.exit_code = exit.code;
        record.finished_ns = exit.at_ns;
        record.oom_killed = exit.oom_killed;
        self.shared.networks.release(&record.endpoints, &record.published)?;
        self.shared.launcher.clean(&record.id, &self.shared.cgroup_of(record)).await?;
        record.endpoints.clear();
        record.published.clear();
        Ok(None)
    }
}
