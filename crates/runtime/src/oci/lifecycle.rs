//! `state`, `kill`, `delete`, `ps`, `pause`, `resume`, `update`, `list`.

use super::print;
use super::state::Record;
use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::hooks;
use clap::Args;
use rustix::fd::AsFd;
use std::path::{Path, PathBuf};
use wharf_oci::runtime_spec::{Cpu, Hooks, Memory, Pids, Resources, Spec};
use wharf_sys::process::SingleThreaded;
use wharf_sys::signals;

#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// The container's id
    id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM")]
    signal: String,
    /// All processes instead of the first one
    #[arg(short, long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The container's id
    id: String,
    /// Also when it runs; no error when it does not exist
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct PsArgs {
    /// The container's id
    id: String,
    /// json or table
    #[arg(short, long, default_value = "table")]
    format: String,
    /// Options of ps(1); accepted for runc's sake
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// json or table
    #[arg(short, long, default_value = "table")]
    format: String,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The container's id
    id: String,
    /// File with the resources of the runtime specification; - is standard input
    #[arg(short, long)]
    resources: Option<PathBuf>,
    /// Bytes
    #[arg(long)]
    memory: Option<i64>,
    /// Bytes of memory and swap together
    #[arg(long)]
    memory_swap: Option<i64>,
    /// Bytes
    #[arg(long)]
    memory_reservation: Option<i64>,
    /// Relative weight
    #[arg(long)]
    cpu_share: Option<u64>,
    /// Microseconds a period
    #[arg(long)]
    cpu_quota: Option<i64>,
    /// Microseconds
    #[arg(long)]
    cpu_period: Option<u64>,
    /// Processors
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long)]
    cpuset_mems: Option<String>,
    /// Number of processes
    #[arg(long)]
    pids_limit: Option<i64>,
}

pub(super) fn state(root: &Path, id: &str) -> Result<i32> {
    let state = Record::load(root, id)?.state(root)?;
    Ok(print(&format!("{}\n", serde_json::to_string_pretty(&state).doing("encode the state")?)))
}

pub(super) fn kill(root: &Path, args: &KillArgs) -> Result<i32> {
    let signal = signals::number(&args.signal)
        .ok_or_else(|| Error::setup(format!("unknown signal {:?}", args.signal)))?;
    let record = Record::load(root, &args.id)?;
    if args.all {
        record.cgroup()?.signal_all(signal).doing("send the signal")?;
    } else {
        let fd = record.pidfd().map_err(|_| Error::setup("container not running"))?;
        signals::send_pidfd(fd.as_fd(), signal).doing("send the signal")?;
    }
    Ok(0)
}

pub(super) fn delete(root: &Path, args: &DeleteArgs) -> Result<i32> {
    let record = match Record::load(root, &args.id) {
        Err(_) if args.force => {
            // What a create left that was killed half-way.
            let directory = Record::directory(root, &args.id)?;
            if directory.exists() {
                std::fs::remove_dir_all(&directory).doing(format_args!("remove {}", directory.display()))?;
            }
            return Ok(0);
        }
        other => other?,
    };
    let status = record.status(root)?;
    if !args.force && matches!(status, "running" | "paused") {
        return Err(Error::setup(format!(
            "cannot delete container {} that is not stopped: {status}",
            args.id
        )));
    }
    destroy(root, &record, None)?;
    Ok(0)
}

/// Ends all processes and removes everything. Hooks that the caller does not know are read again.
pub(super) fn destroy(root: &Path, record: &Record, hooks: Option<Hooks>) -> Result<()> {
    let cgroup = record.cgroup()?;
    if let Ok(fd) = record.pidfd() {
        signals::send_pidfd(fd.as_fd(), 9).doing("end the container")?;
    }
    if cgroup.exists() {
        cgroup.signal_all(9).doing("end the container's processes")?;
        cgroup.remove().doing("remove the cgroup")?;
    }
    let directory = Record::directory(root, &record.id)?;
    std::fs::remove_dir_all(&directory).doing(format_args!("remove {}", directory.display()))?;
    let hooks = hooks.unwrap_or_else(|| hooks_of(&record.bundle));
    if hooks.poststop.is_empty() {
        return Ok(());
    }
    let mut state = record.state(root)?;
    (state.status, state.pid) = ("stopped".to_owned(), None);
    let proof = SingleThreaded::verify().doing("check for threads")?;
    // The container is gone whatever comes of them.
    hooks::run_all(&proof, &hooks.poststop, &state).iter().for_each(super::warn);
    Ok(())
}

/// The hooks of a bundle; none where it can't be read any more.
pub(super) fn hooks_of(bundle: &Path) -> Hooks {
    let config = std::fs::read(bundle.join("config.json")).ok();
    let spec: Option<Spec> = config.and_then(|c| serde_json::from_slice(&c).ok());
    spec.and_then(|s| s.hooks).unwrap_or_default()
}

pub(super) fn ps(root: &Path, args: &PsArgs) -> Result<i32> {
    let pids = Record::load(root, &args.id)?.cgroup()?.processes().doing("list the processes")?;
    if args.format == "json" {
        return Ok(print(&format!("{}\n", serde_json::to_string(&pids).doing("encode")?)));
    }
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let lines: String = pids.iter().map(|pid| format!("{pid:<8} {}\n", name(pid).trim())).collect();
    Ok(print(&format!("PID      CMD\n{lines}")))
}

pub(super) fn freeze(root: &Path, id: &str, frozen: bool) -> Result<i32> {
    let record = Record::load(root, id)?;
    let status = record.status(root)?;
    if (status == "paused") == frozen || status == "stopped" {
        return Err(Error::setup(format!("container {id} is {status}")));
    }
    record.cgroup()?.freeze(frozen).doing(if frozen { "pause" } else { "resume" })?;
    Ok(0)
}

pub(super) fn update(root: &Path, args: &UpdateArgs) -> Result<i32> {
    let resources = match &args.resources {
        Some(file) => {
            let text = if file == Path::new("-") {
                std::io::read_to_string(std::io::stdin())
            } else {
                std::fs::read_to_string(file)
            };
            serde_json::from_str(&text.doing("read the resources")?).doing("read the resources")?
        }
        None => resources_of(args),
    };
    Record::load(root, &args.id)?.cgroup()?.apply(&bundle::limits(&resources)?).doing("set the limits")?;
    Ok(0)
}

fn resources_of(args: &UpdateArgs) -> Resources {
    Resources {
        memory: Some(Memory {
            limit: args.memory,
            reservation: args.memory_reservation,
            swap: args.memory_swap,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: args.cpu_share,
            quota: args.cpu_quota,
            period: args.cpu_period,
            cpus: args.cpuset_cpus.clone().unwrap_or_default(),
            mems: args.cpuset_mems.clone().unwrap_or_default(),
            ..Cpu::default()
        }),
        pids: args.pids_limit.map(|limit| Pids { limit }),
        ..Resources::default()
    }
}

pub(super) fn list(root: &Path, args: &ListArgs) -> Result<i32> {
    let mut records = Vec::new();
    if root.is_dir() {
        for entry in std::fs::read_dir(root).doing(format_args!("read {}", root.display()))? {
            let name = entry.doing("read the state directory")?.file_name();
            // One that is just being created has no state yet.
            records.extend(name.to_str().and_then(|id| Record::load(root, id).ok()));
        }
    }
    records.sort_by(|a, b| a.id.cmp(&b.id));
    if args.quiet {
        return Ok(print(&records.iter().map(|r| format!("{}\n", r.id)).collect::<String>()));
    }
    let states = records.iter().map(|r| r.state(root)).collect::<Result<Vec<_>>>()?;
    if args.format == "json" {
        return Ok(print(&format!("{}\n", serde_json::to_string(&states).doing("encode")?)));
    }
    let mut text = format!("{:<24} {:<10} {:<10} {:<30} BUNDLE\n", "ID", "PID", "STATUS", "CREATED");
    for (record, state) in records.iter().zip(&states) {
        let pid = state.pid.unwrap_or(0);
        text += &format!(
            "{:<24} {pid:<10} {:<10} {:<30} {}\n",
            record.id, state.status, record.created, state.bundle
        );
    }
    Ok(print(&text))
}
