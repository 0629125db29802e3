//! Further processes in running containers: made first, started later, remembered until their container ends.

use crate::containers::Containers;
use crate::random;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wharf_model::container::ContainerRecord;
use wharf_model::launcher::{ExecSpec, ExecStarted, FailedStage, StreamSet};
use wharf_model::state::Status;
use wharf_model::{ContainerId, Error, ErrorKind, ExecId, Result};
use wharf_oci::runtime_spec::{ConsoleSize, Process};

/// A wish for a further process.
#[derive(Debug, Clone, Default)]
pub struct NewExec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Gets a terminal.
    pub tty: bool,
    /// Which streams clients get.
    pub attach: (bool, bool, bool),
    /// `NAME=value` over the container's.
    pub env: Vec<String>,
    /// Empty is the container's.
    pub working_dir: String,
    /// `user[:group]`; empty is the container's.
    pub user: String,
    /// All capabilities and no filter.
    pub privileged: bool,
    /// Keys that detach a client; only shown.
    pub detach_keys: String,
}

/// How a further process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecState {
    /// Made, not started.
    Created,
    /// Runs under this process id of the host.
    Running(i32),
    /// Ended with this exit code.
    Ended(i32),
}

/// A further process.
pub struct Exec {
    /// Its id.
    pub id: ExecId,
    /// Its container.
    pub container: ContainerId,
    /// What it is.
    pub spec: NewExec,
    state: watch::Sender<ExecState>,
    ended: OnceLock<Instant>,
}

/// How long an ended exec can be asked for; Docker forgets them after as much.
const REMEMBERED: Duration = Duration::from_secs(300);

impl Exec {
    fn end(&self, code: i32) {
        self.ended.get_or_init(Instant::now);
        self.state.send_replace(ExecState::Ended(code));
    }

    /// How it stands.
    pub fn state(&self) -> ExecState {
        *self.state.borrow()
    }

    /// Waits for its end and returns the exit code.
    pub async fn wait(&self) -> i32 {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|s| matches!(s, ExecState::Ended(_))).await.map(|s| *s);
        match ended {
            Ok(ExecState::Ended(code)) => code,
            _ => 137,
        }
    }
}

/// All further processes.
#[derive(Default)]
pub struct Execs(Mutex<HashMap<String, Arc<Exec>>>);

impl Execs {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Arc<Exec>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds one by its id.
    pub fn find(&self, id: &str) -> Result<Arc<Exec>> {
        self.with(|all| all.get(id).cloned())
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
    }

    /// The ids of a container's execs that run.
    pub fn of(&self, container: &ContainerId) -> Vec<String> {
        self.with(|all| {
            let running =
                |e: &&Arc<Exec>| e.container == *container && !matches!(e.state(), ExecState::Ended(_));
            all.values().filter(running).map(|e| e.id.to_string()).collect()
        })
    }

    /// Drops one that nobody will ask for.
    pub(crate) fn forget(&self, id: &ExecId) {
        self.with(|all| all.remove(id.as_str()));
    }

    /// Makes one, without starting it.
    fn create(&self, record: &ContainerRecord, spec: NewExec) -> Result<Arc<Exec>> {
        if spec.command.is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        runs(record)?;
        let id = ExecId::from_bytes(random::bytes()?);
        let exec = Arc::new(Exec {
            id,
            container: record.id.clone(),
            spec,
            state: watch::Sender::new(ExecState::Created),
            ended: OnceLock::new(),
        });
        self.with(|all| {
            all.retain(|_, e| e.ended.get().is_none_or(|at| at.elapsed() < REMEMBERED));
            all.insert(exec.id.to_string(), exec.clone())
        });
        Ok(exec)
    }

    pub(crate) fn ended(&self, id: &str, code: i32) -> Option<Arc<Exec>> {
        self.with(|all| {
            let exec = all.get(id)?;
            exec.end(code);
            Some(exec.clone())
        })
    }

    /// A container ended, and all its execs with it.
    pub(crate) fn container_ended(&self, container: &ContainerId) {
        self.with(|all| {
            all.retain(|_, exec| {
                if exec.container == *container && !matches!(exec.state(), ExecState::Ended(_)) {
                    exec.end(137);
                }
                exec.container != *container
            });
        });
    }
}

fn runs(record: &ContainerRecord) -> Result<()> {
    match record.status {
        Status::Running => Ok(()),
        Status::Paused => Err(Error::conflict(format!(
            "Container {} is paused, unpause the container before exec",
            record.name
        ))),
        Status::Restarting => Err(Error::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            record.id
        ))),
        _ => Err(Error::conflict(format!("container {} is not running", record.id))),
    }
}

/// The container as it would be with the process's user and privileges.
fn as_user(record: &ContainerRecord, spec: &NewExec) -> ContainerRecord {
    let mut record = record.clone();
    if !spec.user.is_empty() {
        record.spec.user.clone_from(&spec.user);
    }
    record.spec.privileged |= spec.privileged;
    record
}

impl Containers {
    /// Makes a further process, without starting it.
    ///
    /// # Errors
    /// `Invalid` without a command or for a user that the container does not know; `Conflict` when it does not run.
    pub async fn create_exec(&self, record: &ContainerRecord, spec: NewExec) -> Result<Arc<Exec>> {
        if !spec.user.is_empty() && !spec.command.is_empty() {
            runs(record)?;
            // Looked up again at the start, as the files are then.
            self.identity(as_user(record, &spec)).await?;
        }
        let exec = self.execs().create(record, spec)?;
        self.publish_exec("exec_create", record, &exec, &[]);
        Ok(exec)
    }

    /// Starts a further process. With `attach` its streams come back.
    pub async fn start_exec(
        &self,
        exec: &Exec,
        attach: bool,
        size: Option<ConsoleSize>,
    ) -> Result<ExecStarted> {
        let record = self.may_start(exec)?;
        let started = self.start_exec_in(&record, exec, attach, size).await;
        if started.is_err() && exec.state() == ExecState::Created {
            exec.end(126);
        }
        started
    }

    /// Whether a further process can be started now: its container, if so.
    ///
    /// # Errors
    /// `Conflict` when it ran already or the container does not run.
    pub fn may_start(&self, exec: &Exec) -> Result<Arc<ContainerRecord>> {
        if exec.state() != ExecState::Created {
            return Err(Error::conflict(format!("exec command {} has already run", exec.id)));
        }
        let record = self.find(exec.container.as_str())?.record();
        runs(&record)?;
        Ok(record)
    }

    /// A client left a further process, which goes on.
    pub fn publish_detached(&self, exec: &Exec) {
        if let Ok(handle) = self.find(exec.container.as_str()) {
            self.publish_exec("exec_detach", &handle.record(), exec, &[]);
        }
    }

    async fn start_exec_in(
        &self,
        record: &Arc<ContainerRecord>,
        exec: &Exec,
        attach: bool,
        size: Option<ConsoleSize>,
    ) -> Result<ExecStarted> {
        let process = self.exec_process(record, &exec.spec, size).await?;
        let (stdin, stdout, stderr) = exec.spec.attach;
        let streams = if attach { StreamSet { stdin, stdout, stderr } } else { StreamSet::default() };
        let seccomp = if exec.spec.privileged { None } else { crate::containers::spec::filter_of(record) };
        let spec = ExecSpec { id: exec.id.to_string(), process, seccomp, streams };
        match self.launcher().exec(&record.id, spec).await? {
            Ok(started) => {
                self.publish_exec("exec_start", record, exec, &[]);
                // The end may already have been told.
                exec.state.send_if_modified(|state| {
                    let first = *state == ExecState::Created;
                    if first {
                        *state = ExecState::Running(started.pid);
                    }
                    first
                });
                Ok(started)
            }
            Err((stage, message)) => {
                let (code, kind) = match stage {
                    FailedStage::NotFound => (127, ErrorKind::Invalid),
                    FailedStage::NotExecutable => (126, ErrorKind::Invalid),
                    FailedStage::Setup => (126, ErrorKind::Invalid),
                };
                exec.end(code);
                Err(Error::new(
                    kind,
                    format!(
                        "OCI runtime exec failed: exec failed: unable to start container process: {message}"
                    ),
                ))
            }
        }
    }

    async fn exec_process(
        &self,
        record: &Arc<ContainerRecord>,
        spec: &NewExec,
        size: Option<ConsoleSize>,
    ) -> Result<Process> {
        let as_user = as_user(record, spec);
        let identity = self.identity(as_user.clone()).await?;
        let env = self.environment(record, spec.tty);
        let dirs = [&spec.working_dir, &record.spec.working_dir, &record.image_config.working_dir];
        Ok(Process {
            terminal: spec.tty,
            console_size: size,
            user: identity.user,
            args: spec.command.clone(),
            env: wharf_model::container::merge_env(&env, &spec.env),
            cwd: dirs.into_iter().find(|d| !d.is_empty()).cloned().unwrap_or_else(|| "/".to_owned()),
            capabilities: Some(crate::containers::spec::capabilities_of(&as_user)),
            rlimits: record.spec.ulimits.clone(),
            no_new_privileges: record.spec.no_new_privileges,
            // Those of the container, privileged or not.
            apparmor_profile: record.apparmor_profile.clone(),
            selinux_label: record.process_label.clone(),
            ..Process::default()
        })
    }
}
