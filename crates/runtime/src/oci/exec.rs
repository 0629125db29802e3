//! `exec`: a further process in a container.

use super::create::send_terminal;
use super::relay;
use super::state::Record;
use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::tenant;
use clap::Args;
use rustix::fd::AsFd;
use std::path::{Path, PathBuf};
use wharf_oci::runtime_spec::{Process, Spec};
use wharf_sys::process::SingleThreaded;

#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// File with the process of the runtime specification
    #[arg(short, long)]
    process: Option<PathBuf>,
    /// Do not wait
    #[arg(short, long)]
    detach: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Working directory
    #[arg(long)]
    cwd: Option<String>,
    /// NAME=value
    #[arg(short, long)]
    env: Vec<String>,
    /// uid, or uid:gid
    #[arg(short, long)]
    user: Option<String>,
    /// Socket that the terminal's master side is sent to
    #[arg(long)]
    console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// AppArmor profile of the process, in place of the container's
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// SELinux label of the process, in place of the container's
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Descriptors from 3 on that the program inherits
    #[arg(long, default_value_t = 0)]
    preserve_fds: u32,
    /// The container's id
    id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(super) fn exec(root: &Path, args: ExecArgs) -> Result<i32> {
    let record = Record::load(root, &args.id)?;
    let status = record.status(root)?;
    if status != "running" {
        return Err(Error::setup(format!("cannot exec in a container that is {status}")));
    }
    let file = record.bundle.join("config.json");
    let bytes = std::fs::read(&file).doing(format_args!("read {}", file.display()))?;
    let spec: Spec = serde_json::from_slice(&bytes).doing(format_args!("read {}", file.display()))?;
    let process = process_of(&args, &spec)?;
    if process.terminal && args.detach && args.console_socket.is_none() {
        return Err(Error::setup("a detached process with a terminal needs --console-socket"));
    }
    let container = record.pidfd()?;
    let cgroup = record.cgroup()?;
    let plan = tenant::Plan {
        process: &process,
        container: container.as_fd(),
        cgroup: Some(&cgroup),
        stdio: None,
        seccomp: spec.linux.as_ref().map(bundle::filter).transpose()?.flatten(),
        preserve_fds: args.preserve_fds,
    };
    let proof = SingleThreaded::verify().doing("check for threads")?;
    let mut tenant = tenant::start(&proof, plan)?;
    if let (Some(path), Some(master)) = (&args.console_socket, &tenant.terminal) {
        send_terminal(path, master)?;
        tenant.terminal = None;
    }
    if let Some(file) = &args.pid_file {
        std::fs::write(file, tenant.pid.to_string()).doing(format_args!("write {}", file.display()))?;
    }
    if args.detach { Ok(0) } else { relay::wait(tenant.pid, tenant.terminal.as_ref()) }
}

fn process_of(args: &ExecArgs, spec: &Spec) -> Result<Process> {
    if let Some(file) = &args.process {
        let bytes = std::fs::read(file).doing(format_args!("read {}", file.display()))?;
        return serde_json::from_slice(&bytes).doing(format_args!("read {}", file.display()));
    }
    let mut process = spec.process.clone().ok_or_else(|| Error::setup("the configuration has no process"))?;
    process.args.clone_from(&args.args);
    process.terminal = args.tty;
    process.env.extend(args.env.iter().cloned());
    if let Some(cwd) = &args.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(profile) = &args.apparmor {
        process.apparmor_profile.clone_from(profile);
    }
    if let Some(label) = &args.process_label {
        process.selinux_label.clone_from(label);
    }
    if let Some(user) = &args.user {
        let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
        let number = |text: &str| text.parse().doing(format_args!("user {user:?} is not uid or uid:gid"));
        process.user.uid = number(uid)?;
        if !gid.is_empty() {
            process.user.gid = number(gid)?;
        }
    }
    Ok(process)
}
