//! What this command line remembers of a container between calls.

use crate::error::{Doing, Error, Result};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wharf_oci::runtime_spec::State;
use wharf_sys::cgroup::{Cgroup, Layout};

const FILE: &str = "state.json";
/// The socket where init waits for the start. It is removed by the start.
pub(super) const GATE: &str = "start.sock";

/// One container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) pid: i32,
    /// Start time of the process in clock ticks since boot: a reused number has another one.
    pub(super) started: u64,
    pub(super) bundle: PathBuf,
    pub(super) cgroup: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) created: String,
}

impl Record {
    pub(super) fn directory(root: &Path, id: &str) -> Result<PathBuf> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
        if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.bytes().all(allowed) {
            return Err(Error::setup(format!(
                "invalid container ID {id:?}: letters, digits, _ + - . are allowed"
            )));
        }
        Ok(root.join(id))
    }

    pub(super) fn load(root: &Path, id: &str) -> Result<Self> {
        let file = Self::directory(root, id)?.join(FILE);
        match std::fs::read(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::setup(format!("container {id} does not exist")))
            }
            Err(e) => Err(Error::setup(format!("read {}: {e}", file.display()))),
            Ok(bytes) => serde_json::from_slice(&bytes).doing(format_args!("read {}", file.display())),
        }
    }

    pub(super) fn store(&self, root: &Path) -> Result<()> {
        let directory = Self::directory(root, &self.id)?;
        let what = "write the container's state";
        let part = directory.join("state.part");
        std::fs::write(&part, serde_json::to_vec(self).doing(what)?).doing(what)?;
        std::fs::rename(part, directory.join(FILE)).doing(what)
    }

    pub(super) fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Opens the first process, making sure that it is still the one.
    pub(super) fn pidfd(&self) -> Result<OwnedFd> {
        let pid = rustix::process::Pid::from_raw(self.pid).ok_or_else(|| Error::setup("no process id"))?;
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        match fd {
            Ok(fd) if self.is_alive() => Ok(fd),
            _ => Err(Error::setup(format!("container {} is not running", self.id))),
        }
    }

    pub(super) fn cgroup(&self) -> Result<Cgroup> {
        let layout = Layout::detect().doing("find the cgroup hierarchies")?;
        Cgroup::at(layout, &self.cgroup).doing("name the cgroup")
    }

    pub(super) fn status(&self, root: &Path) -> Result<&'static str> {
        if !self.is_alive() {
            return Ok("stopped");
        }
        if Self::directory(root, &self.id)?.join(GATE).exists() {
            return Ok("created");
        }
        Ok(if self.cgroup()?.is_frozen().unwrap_or(false) { "paused" } else { "running" })
    }

    pub(super) fn state(&self, root: &Path) -> Result<State> {
        let status = self.status(root)?.to_owned();
        Ok(State {
            oci_version: super::features::SPEC_VERSION.to_owned(),
            id: self.id.clone(),
            pid: (status != "stopped").then_some(self.pid),
            status,
            bundle: self.bundle.display().to_string(),
            annotations: self.annotations.clone(),
        })
    }
}

/// Field 22 of `/proc/PID/stat`; `None` when the process is gone or a zombie.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}
