//! Checks of a running container: a task for each that has one, whose results its actor takes.

use super::actor::Actor;
use super::{Collaborators, Containers, Registry};
use crate::clock::now_ns;
use crate::execs::{Exec, NewExec};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use wharf_model::Result;
use wharf_model::container::ContainerRecord;
use wharf_model::health::{Check, Health, HealthStatus, OnUnhealthy, Probe};
use wharf_model::state::Status;

/// Bytes of a check's output that are kept, as Docker's.
const OUTPUT_LIMIT: usize = 4096;

/// A result, and how long the container ran when the check began.
pub(super) type Checked = (Probe, Duration);

/// The checks of one run. They end when it is dropped.
pub(super) struct Checking {
    results: mpsc::UnboundedReceiver<Checked>,
    task: tokio::task::AbortHandle,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The next result; never without checks.
pub(super) async fn next_result(checking: &mut Option<Checking>) -> Checked {
    match checking {
        Some(checking) => match checking.results.recv().await {
            Some(checked) => checked,
            // The task panicked: there are no more.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Actor {
    /// Begins or ends the checks, as the container's state asks for.
    pub(super) fn follow_health(&mut self) {
        self.checking = match self.record.check() {
            Some(check) if self.record.status == Status::Running => {
                let health = self.record.health.get_or_insert_default().clone();
                Some(begin(&self.shared, &self.registry, &self.record, check, health))
            }
            _ => None,
        };
    }

    /// The run ended. As with Docker, what does not run is not healthy.
    pub(super) fn end_health(&mut self) {
        self.checking = None;
        if let Some(health) = &mut self.record.health {
            health.status = HealthStatus::Unhealthy;
        }
    }

    /// Takes a result.
    pub(super) async fn checked(&mut self, (probe, running): Checked) {
        let Some(check) = self.record.check() else { return };
        let health = self.record.health.get_or_insert_default();
        if !health.add(probe, &check, running) {
            return self.show();
        }
        let status = health.status;
        self.shared.publish(&format!("health_status: {}", status.as_str()), &self.record, &[]);
        if let Err(e) = self.commit() {
            tracing::warn!(container = %self.record.id, "keep the health: {}", e.full());
        }
        if status == HealthStatus::Unhealthy
            && let Err(e) = self.act_on_unhealthy().await
        {
            tracing::warn!(container = %self.record.id, "act on the failed health check: {}", e.full());
        }
    }

    async fn act_on_unhealthy(&mut self) -> Result<()> {
        match self.record.spec.on_unhealthy {
            OnUnhealthy::None => Ok(()),
            OnUnhealthy::Kill => self.signal(9).await,
            OnUnhealthy::Stop => {
                self.record.stopped_by_user = true;
                self.ask_to_stop(Default::default()).await
            }
            OnUnhealthy::Restart => {
                self.restart_wanted = true;
                self.ask_to_stop(Default::default()).await
            }
        }
    }
}

fn begin(
    shared: &Arc<Collaborators>,
    registry: &Registry,
    record: &ContainerRecord,
    check: Check,
    health: Health,
) -> Checking {
    let (sender, results) = mpsc::unbounded_channel();
    let containers = Containers { shared: shared.clone(), registry: registry.clone() };
    let id = record.id.clone();
    // From here on by the clock that nobody sets.
    let before = Duration::from_nanos(u64::try_from(now_ns() - record.started_ns).unwrap_or(0));
    let began = Instant::now();
    let task = tokio::spawn(async move {
        // The actor's own may be a result behind; this one is not.
        let mut health = health;
        loop {
            tokio::time::sleep(check.pause(health.status, before + began.elapsed())).await;
            let Ok(handle) = containers.find(id.as_str()) else { return };
            let running = before + began.elapsed();
            let probe = containers.probe(&handle.record(), &check).await;
            health.add(probe.clone(), &check, running);
            if sender.send((probe, running)).is_err() {
                return;
            }
        }
    });
    Checking { results, task: task.abort_handle() }
}

impl Containers {
    /// Runs the check once.
    async fn probe(&self, record: &ContainerRecord, check: &Check) -> Probe {
        let start_ns = now_ns();
        let mut output = Output::default();
        let exit_code = match self.run_probe(record, check, &mut output).await {
            Ok(code) => code,
            Err(e) => {
                output.text = e.full().into_bytes();
                -1
            }
        };
        Probe { start_ns, end_ns: now_ns(), exit_code, output: output.finish() }
    }

    async fn run_probe(&self, record: &ContainerRecord, check: &Check, output: &mut Output) -> Result<i32> {
        let spec =
            NewExec { command: check.command.clone(), attach: (false, true, true), ..NewExec::default() };
        let exec = self.create_exec(record, spec).await?;
        let result = self.run_in_time(&exec, record, check, output).await;
        self.shared.execs.forget(&exec.id);
        result
    }

    async fn run_in_time(
        &self,
        exec: &Exec,
        record: &ContainerRecord,
        check: &Check,
        output: &mut Output,
    ) -> Result<i32> {
        match tokio::time::timeout(check.timeout, self.follow_probe(exec, output)).await {
            Ok(ended) => ended,
            Err(_) => {
                output.exceeded(check.timeout);
                let ended = self.launcher().signal_exec(&record.id, exec.id.as_str(), 9).await;
                // It may have ended this very moment.
                ended.or_else(
                    |e| if e.kind() == wharf_model::ErrorKind::NotFound { Ok(()) } else { Err(e) },
                )?;
                Ok(-1)
            }
        }
    }

    async fn follow_probe(&self, exec: &Exec, output: &mut Output) -> Result<i32> {
        let started = self.start_exec(exec, true, None).await?;
        // A connection that breaks is the end of the output.
        let _ = output.read(started.stream).await;
        Ok(exec.wait().await)
    }
}

/// The beginning of a check's output.
#[derive(Default)]
struct Output {
    text: Vec<u8>,
    cut: bool,
}

impl Output {
    /// Reads multiplexed frames to the end.
    async fn read(&mut self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut buffer = [0u8; 4096];
        loop {
            let mut header = [0u8; 8];
            stream.read_exact(&mut header).await?;
            let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            while left > 0 {
                let part = left.min(buffer.len());
                let n = stream.read(&mut buffer[..part]).await?;
                if n == 0 {
                    return Ok(());
                }
                self.add(&buffer[..n]);
                left -= n;
            }
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = OUTPUT_LIMIT - self.text.len().min(OUTPUT_LIMIT);
        self.cut |= bytes.len() > room;
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn exceeded(&mut self, timeout: Duration) {
        let mut text = format!("Health check exceeded timeout ({timeout:?})").into_bytes();
        if !self.text.is_empty() {
            text.extend_from_slice(b": ");
            text.append(&mut self.text);
        }
        self.text = text;
    }

    fn finish(self) -> String {
        let mut text = String::from_utf8_lossy(&self.text).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_is_cut() {
        let mut output = Output::default();
        output.add(&[b'a'; 4000]);
        output.add(&[b'b'; 4000]);
        let text = output.finish();
        assert_eq!(text.len(), OUTPUT_LIMIT + 3);
        assert!(text.ends_with("b..."));
    }
}
