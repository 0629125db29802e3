//! `create`, `start` and `run`.

use super::relay;
use super::state::{GATE, Record, start_time};
use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::hooks::{self, Hooked};
use crate::init::{self, Gate, Message, Plan};
use crate::launch::{self, Child, Joining};
use crate::monitor::await_ready;
use crate::protocol::Rootfs;
use crate::sysctl;
use clap::Args;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::path::{Path, PathBuf};
use wharf_oci::runtime_spec::{Hooks, Spec};
use wharf_sys::cgroup::Cgroup;
use wharf_sys::process::SingleThreaded;
use wharf_sys::{signals, socket};

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The container's id
    id: String,
    /// Directory of the bundle
    #[arg(short, long, default_value = ".")]
    bundle: PathBuf,
    /// Socket that the terminal's master side is sent to
    #[arg(long)]
    console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// Accepted for runc's sake; the root is always pivoted to
    #[arg(long)]
    no_pivot: bool,
    /// Accepted for runc's sake
    #[arg(long)]
    no_new_keyring: bool,
    /// Descriptors from 3 on that the program inherits
    #[arg(long, default_value_t = 0)]
    preserve_fds: u32,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    create: CreateArgs,
    /// Do not wait for the container
    #[arg(short, long)]
    detach: bool,
    /// Keep the state after the container ended
    #[arg(long)]
    keep: bool,
}

pub(super) fn create(root: &Path, args: &CreateArgs) -> Result<i32> {
    create_container(root, args, Starter::Another).map(|_| 0)
}

/// Who lets the container's program start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Starter {
    /// `start`, another command; the terminal is sent to a console socket.
    Another,
    /// This command, which goes then.
    Detached,
    /// This command, which keeps the terminal and waits.
    Foreground,
}

/// A container whose init waits, with its terminal when nobody else got it.
struct Created {
    child: Child,
    terminal: Option<OwnedFd>,
    record: Record,
    hooks: Hooks,
}

fn read_spec(bundle: &Path) -> Result<Spec> {
    let file = bundle.join("config.json");
    let bytes = std::fs::read(&file).doing(format_args!("read {}", file.display()))?;
    serde_json::from_slice(&bytes).doing(format_args!("read {}", file.display()))
}

fn create_container(root: &Path, args: &CreateArgs, starter: Starter) -> Result<Created> {
    let bundle =
        std::fs::canonicalize(&args.bundle).doing(format_args!("open bundle {}", args.bundle.display()))?;
    let spec = read_spec(&bundle)?;
    let terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    if terminal && args.console_socket.is_none() && starter != Starter::Foreground {
        return Err(Error::setup(
            "cannot allocate tty if runc will detach without setting console socket: pass --console-socket",
        ));
    }
    let directory = Record::directory(root, &args.id)?;
    std::fs::create_dir_all(root).doing(format_args!("make {}", root.display()))?;
    match std::fs::create_dir(&directory) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::setup(format!("container with given ID already exists: {}", args.id)));
        }
        other => other.doing(format_args!("make {}", directory.display()))?,
    }
    let cgroup = launch::cgroup_of(&spec, &args.id)?;
    let gate = match starter {
        Starter::Another => listen(&directory).map(Gate::Listener),
        Starter::Detached | Starter::Foreground => Ok(Gate::Sync),
    };
    let result = gate.and_then(|gate| create_in(root, args, &bundle, &spec, gate, cgroup.as_ref()));
    if result.is_err() {
        // The first failure is what the caller must see.
        if let Some(cgroup) = &cgroup {
            let _ = cgroup.signal_all(9);
            let _ = cgroup.remove();
        }
        let _ = std::fs::remove_dir_all(&directory);
    }
    result
}

fn create_in(
    root: &Path,
    args: &CreateArgs,
    bundle: &Path,
    spec: &Spec,
    gate: Gate,
    cgroup: Option<&Cgroup>,
) -> Result<Created> {
    let oci_root = spec.root.as_ref().ok_or_else(|| Error::setup("the configuration has no root"))?;
    let rootfs = bundle.join(&oci_root.path);
    let linux = spec.linux.as_ref().ok_or_else(|| Error::setup("the configuration has no linux section"))?;
    if let Some(cgroup) = cgroup {
        cgroup.create().doing("make the cgroup")?;
    }
    let proof = SingleThreaded::verify().doing("check for threads")?;
    let hooks = spec.hooks.clone().unwrap_or_default();
    let state = hooks::state(spec, &args.id, bundle);
    let hooked =
        || spec.hooks.is_some().then(|| Hooked { proof: &proof, hooks: &hooks, state: state.clone() });
    let plan = Plan {
        spec,
        root: &Rootfs::Bind { path: rootfs.clone() },
        mount_point: &rootfs,
        images: init::images::Images::default(),
        stdio: None,
        membership: init::membership::Membership::default(),
        cgroup_view: cgroup.map(launch::cgroup_view).unwrap_or_default(),
        seccomp: bundle::filter(linux)?,
        sysctls: sysctl::own(linux)?,
        gate,
        preserve_fds: args.preserve_fds,
        stock: init::stock::Stock::default(),
        init_program: None,
        die_with_parent: false,
        idmaps: std::collections::BTreeMap::new(),
        prepared: None,
        hooked: hooked(),
    };
    let child = launch::start(&proof, plan, cgroup.map_or(Joining::Never, Joining::AtOnce), None)?;
    let prepared = prepare(root, args, bundle, spec, cgroup, &child, hooked().as_ref());
    if prepared.is_err() {
        // It may have ended by itself; reaping tells.
        let _ = signals::send_pidfd(child.pidfd.as_fd(), 9);
        launch::reap(child.pid)?;
        for e in hooks::run_all(&proof, &hooks.poststop, &hooks::at(&state, "stopped", None)) {
            super::warn(&e);
        }
    }
    prepared.map(|(terminal, record)| Created { child, terminal, record, hooks })
}

fn prepare(
    root: &Path,
    args: &CreateArgs,
    bundle: &Path,
    spec: &Spec,
    cgroup: Option<&Cgroup>,
    child: &Child,
    hooked: Option<&Hooked<'_>>,
) -> Result<(Option<OwnedFd>, Record)> {
    let resources = spec.linux.as_ref().and_then(|l| l.resources.as_ref());
    if let (Some(cgroup), Some(resources)) = (cgroup, resources) {
        cgroup.apply(&bundle::limits(resources)?).doing("set the limits")?;
    }
    let mut terminal = await_ready(child, hooked, None)?;
    if let (Some(path), Some(master)) = (&args.console_socket, &terminal) {
        send_terminal(path, master)?;
        terminal = None;
    }
    let record = Record {
        id: args.id.clone(),
        pid: child.pid,
        started: start_time(child.pid).ok_or_else(|| Error::setup("init ended during the preparation"))?,
        bundle: bundle.to_owned(),
        cgroup: cgroup.map(|c| c.path().to_owned()).unwrap_or_default(),
        annotations: spec.annotations.clone(),
        created: crate::monitor::now_rfc3339(),
    };
    record.store(root)?;
    if let Some(file) = &args.pid_file {
        std::fs::write(file, child.pid.to_string()).doing(format_args!("write {}", file.display()))?;
    }
    Ok((terminal, record))
}

/// A socket address for a name in a directory, however long its path is.
fn address(directory: &OwnedFd, name: &str) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())).doing("name a socket")
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .doing(format_args!("open {}", path.display()))
}

fn listen(directory: &Path) -> Result<OwnedFd> {
    let what = "listen for the start";
    let at = open_directory(directory)?;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .doing(what)?;
    rustix::net::bind(&fd, &address(&at, GATE)?).doing(what)?;
    rustix::net::listen(&fd, 1).doing(what)?;
    Ok(fd)
}

/// Sends the terminal's master side as runc does: one byte message of its name with the descriptor.
pub(super) fn send_terminal(path: &Path, master: &OwnedFd) -> Result<()> {
    let what = || format!("send the terminal to {}", path.display());
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .doing(what())?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(path).doing(what())?).doing(what())?;
    socket::send(fd.as_fd(), b"/dev/ptmx", &[master.as_fd()]).doing(what())
}

pub(super) fn start(root: &Path, id: &str) -> Result<i32> {
    let record = Record::load(root, id)?;
    if record.status(root)? != "created" {
        return Err(Error::setup(format!(
            "cannot start a container that is not created: it is {}",
            record.status(root)?
        )));
    }
    let directory = Record::directory(root, id)?;
    let at = open_directory(&directory)?;
    let what = format!("start container {id}");
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .doing(&what)?;
    rustix::net::connect(&fd, &address(&at, GATE)?).doing(&what)?;
    std::fs::remove_file(directory.join(GATE)).doing(&what)?;
    if let Some((Message::Failed(error), _)) = init::hear(fd.as_fd())? {
        return Err(error);
    }
    tell_started(root, &record, &super::lifecycle::hooks_of(&record.bundle)).map(|()| 0)
}

/// Runs the hooks that follow a start; the container does not go on without (runtime.md, "Lifecycle").
fn tell_started(root: &Path, record: &Record, hooks: &Hooks) -> Result<()> {
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let proof = SingleThreaded::verify().doing("check for threads")?;
    let ran = hooks::run(&proof, "poststart", &hooks.poststart, &record.state(root)?, None);
    if ran.is_err()
        && let Ok(fd) = record.pidfd()
    {
        signals::send_pidfd(fd.as_fd(), 9).doing("end the container")?;
    }
    ran
}

/// Starts what this command created itself.
fn let_go(root: &Path, created: &Created) -> Result<()> {
    launch::let_go(&created.child)?;
    if let Some((Message::Failed(error), _)) = init::hear(created.child.sync.as_fd())? {
        return Err(error);
    }
    tell_started(root, &created.record, &created.hooks)
}

pub(super) fn run(root: &Path, args: &RunArgs) -> Result<i32> {
    let starter = if args.detach { Starter::Detached } else { Starter::Foreground };
    let created = create_container(root, &args.create, starter)?;
    let started = let_go(root, &created);
    if args.detach && started.is_ok() {
        return Ok(0);
    }
    let waited = started.and_then(|()| relay::wait(created.child.pid, created.terminal.as_ref()));
    if !args.keep || waited.is_err() {
        super::lifecycle::destroy(root, &created.record, Some(created.hooks))?;
    }
    waited
}
