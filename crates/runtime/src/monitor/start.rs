//! The way from a run directory to a container that waits for `Go`.

use super::client::{Client, Line};
use super::hooks::Kept;
use super::log::Log;
use super::requests::{Ours, pipes};
use super::session::Session;
use super::{Monitor, Phase, event_line};
use crate::ahead::Ahead;
use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::hooks::{self, Hooked};
use crate::init::images::Images;
use crate::init::{self, Gate, Message, Plan};
use crate::launch::{self, Child, Joining};
use crate::protocol::{Event, LAUNCH_FILE, Launch, Request, SOCKET_FILE};
use crate::sysctl;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::Path;
use wharf_failpoint::failpoint;
use wharf_oci::runtime_spec::NamespaceKind;
use wharf_sys::cgroup::Cgroup;
use wharf_sys::process::{self, SingleThreaded};
use wharf_sys::signals;

/// Prepares the container. On failure nothing is left.
///
/// A process joins a cgroup of version 1 while it builds its root, which goes on beside the making of the cgroup; into
/// one of version 2 it is born.
pub(super) fn prepare<'a>(
    proof: &'a SingleThreaded,
    directory: &Path,
    control: &mut Line,
    clients: Vec<OwnedFd>,
    ahead: Option<Ahead>,
) -> Result<Monitor<'a>> {
    let launch: Launch = {
        let file = directory.join(LAUNCH_FILE);
        let bytes = std::fs::read(&file).doing(format_args!("read {}", file.display()))?;
        serde_json::from_slice(&bytes).doing(format_args!("read {}", file.display()))?
    };
    let mut clients = clients;
    let mounts = clients.split_off(launch.attached.len().min(clients.len()));
    let images = Images::copied(launch.images.iter().zip(mounts), init::labels::of_images(&launch.spec))?;
    let signals = signals::signal_fd(&[17]).doing("watch for signals")?;
    let cgroup = launch::cgroup_of(&launch.spec, &launch.id)?
        .ok_or_else(|| Error::setup("the configuration names no cgroup"))?;
    let hooks = Kept::of(&launch, directory, &directory.join(ROOT))?;
    // Before anything else is there: an engine that takes the container over must find it.
    let listener = listen(directory)?;
    failpoint!("monitor.listening");
    if joins_at_once(&launch, &cgroup) {
        cgroup.create().doing("make the cgroup")?;
    }
    let hooked = || hooks.as_ref().map(|kept| kept.hooked(proof));
    let prepared =
        start(proof, directory, &launch, &cgroup, images, ahead, hooked()).and_then(|(child, ours)| {
            let furnished = furnish(&launch, &cgroup, control, &child, ours, hooked().as_ref());
            if furnished.is_err() {
                // It may have ended by itself; reaping tells.
                let _ = signals::send_pidfd(child.pidfd.as_fd(), 9);
                launch::reap(child.pid)?;
            }
            furnished.map(|furnished| (child, furnished))
        });
    let (child, (mut session, phase)) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            // It may not have been made yet.
            let _ = std::fs::remove_file(directory.join(SOCKET_FILE));
            let error = with_clean_up(e, cgroup.remove().doing("remove the cgroup"));
            let stopped = hooks.map(|mut kept| kept.stop(proof)).unwrap_or_default();
            return Err(stopped.into_iter().fold(error, |error, e| with_clean_up(error, Err(e))));
        }
    };
    for (fd, streams) in clients.into_iter().zip(&launch.attached) {
        // A client whose connection does not work is one that went away.
        session.clients.extend(Client::new(fd, *streams, session.is_framed()));
    }
    Ok(Monitor {
        proof,
        directory: directory.to_owned(),
        cgroup,
        child,
        signals,
        listener,
        lines: Vec::new(),
        sessions: vec![session],
        starting: Vec::new(),
        unclaimed: Vec::new(),
        mounts: None,
        accept_after: None,
        phase,
        hooks,
    })
}

/// Where the root is mounted for the moment of building it, in the run directory.
const ROOT: &str = "rootfs";

/// Keeps the failure and the failure of the clean-up.
pub(super) fn with_clean_up(error: Error, clean_up: Result<()>) -> Error {
    match clean_up {
        Ok(()) => error,
        Err(e) => Error { message: format!("{} (and cleaning up: {})", error.message, e.message), ..error },
    }
}

/// Out of the daemon's session and off its standard streams, so that it can end without us noticing.
pub(super) fn detach() -> Result<()> {
    leave_session().doing("leave the engine's session")
}

fn leave_session() -> std::io::Result<()> {
    process::default_signals();
    for signal in [1, 2, 13, 15] {
        signals::ignore(signal);
    }
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::thread::set_name(c"wharf-monitor")?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..3 {
        process::place_fd(null.as_fd(), number)?;
    }
    Ok(())
}

/// The socket is bound through the directory's descriptor: the path may be longer than a socket address.
fn listen(directory: &Path) -> Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
    use std::os::fd::AsRawFd;
    let what = "listen on the monitor's socket";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let at = rustix::fs::open(directory, flags, Mode::empty()).doing(what)?;
    match rustix::fs::unlinkat(&at, SOCKET_FILE, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(Error::setup(format!("{what}: {e}"))),
    }
    let fd = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .doing(what)?;
    let path = format!("/proc/self/fd/{}/{SOCKET_FILE}", at.as_raw_fd());
    bind(&fd, &SocketAddrUnix::new(path.as_str()).doing(what)?).doing(what)?;
    rustix::fs::chmodat(&at, SOCKET_FILE, Mode::from_raw_mode(0o600), rustix::fs::AtFlags::empty())
        .doing(what)?;
    // As many as may connect between two turns of the loop.
    listen(&fd, 128).doing(what)?;
    Ok(fd)
}

/// Starts the first process. Returns our ends of its pipes, which it has unless it has a terminal.
fn start(
    proof: &SingleThreaded,
    directory: &Path,
    launch: &Launch,
    cgroup: &Cgroup,
    images: Images,
    ahead: Option<Ahead>,
    hooked: Option<Hooked<'_>>,
) -> Result<(Child, Option<Ours>)> {
    let spec = &launch.spec;
    let terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    let (stdio, ours) =
        if terminal { (None, None) } else { pipes(launch.open_stdin).map(|(a, b)| (Some(a), Some(b)))? };
    let seccomp = match (&launch.seccomp_file, &spec.linux) {
        (Some(file), _) => Some(bundle::load_filter(file)?),
        (None, Some(linux)) => bundle::filter(linux)?,
        (None, None) => None,
    };
    let mount_point = directory.join(ROOT);
    match std::fs::create_dir(&mount_point) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::setup(format!("make {}: {e}", mount_point.display())));
        }
        _ => {}
    }
    let init_program = launch.init.then(own_program).transpose()?;
    let plan = Plan {
        spec,
        root: &launch.root,
        mount_point: &mount_point,
        images,
        stdio,
        membership: init::membership::Membership::default(),
        cgroup_view: launch::cgroup_view(cgroup),
        seccomp,
        sysctls: spec.linux.as_ref().map(sysctl::own).transpose()?.unwrap_or_default(),
        gate: Gate::Sync,
        preserve_fds: 0,
        stock: init::stock::Stock::default(),
        init_program,
        die_with_parent: true,
        idmaps: std::collections::BTreeMap::new(),
        prepared: None,
        hooked,
    };
    let joining = if joins_at_once(launch, cgroup) { Joining::AtOnce(cgroup) } else { Joining::Later };
    Ok((launch::start(proof, plan, joining, ahead)?, ours))
}

/// Whether init is in its cgroup before it builds the root: in a user namespace it could not join any more.
fn joins_at_once(launch: &Launch, cgroup: &Cgroup) -> bool {
    let namespaces = launch.spec.linux.as_ref().map(|l| l.namespaces.as_slice()).unwrap_or_default();
    cgroup.takes_births() || namespaces.iter().any(|n| n.kind == NamespaceKind::User)
}

/// Makes the rest while init builds the root, and waits for it.
fn furnish(
    launch: &Launch,
    cgroup: &Cgroup,
    control: &mut Line,
    child: &Child,
    ours: Option<Ours>,
    hooked: Option<&Hooked<'_>>,
) -> Result<(Session, Phase)> {
    control.queue(&event_line(&Event::Cloned { pid: child.pid }));
    control.flush().doing("tell the engine")?;
    failpoint!("monitor.cloned");
    let later = !joins_at_once(launch, cgroup);
    if later {
        cgroup.create().doing("make the cgroup")?;
        launch::restrict_devices(&launch.spec, cgroup)?;
    }
    failpoint!("monitor.cgroup");
    if let Some(resources) = launch.spec.linux.as_ref().and_then(|l| l.resources.as_ref()) {
        cgroup.apply(&bundle::limits(resources)?).doing("set the limits")?;
    }
    if later {
        launch::admit(child, cgroup)?;
    }
    failpoint!("monitor.admitted");
    let log = launch.log.clone().map(Log::open).transpose().doing("open the log")?;
    failpoint!("monitor.log");
    let mut phase = Phase::Waiting;
    // Init hears of the hooks' end before anything else.
    let waits = hooked.is_some_and(|h| hooks::waits_for_parent(h.hooks));
    if !waits && is_told_to_go(control)? {
        phase = Phase::Starting;
        launch::let_go(child)?;
    }
    let mut session = match (await_ready(child, hooked, control.as_fd())?, ours) {
        (Some(master), _) => Session::with_terminal(None, child.pid, master).doing("take the terminal")?,
        (None, Some(ours)) => {
            Session::with_pipes(None, child.pid, ours.stdin, ours.outputs, launch.stdin_once)
        }
        (None, None) => return Err(Error::setup("the container made no terminal")),
    };
    failpoint!("monitor.ready");
    session.log = log;
    Ok((session, phase))
}

/// Whether the engine said `Go` already, which is all it says before it hears `Ready`.
fn is_told_to_go(control: &mut Line) -> Result<bool> {
    control.fill();
    match control.next().map(|line| serde_json::from_slice(&line)) {
        None => Ok(false),
        Some(Ok(Request::Go)) => Ok(true),
        Some(_) => Err(Error::setup("the engine asks for something before the container is there")),
    }
}

/// Hears init until it waits at the gate. Returns its terminal.
pub(crate) fn await_ready(
    child: &Child,
    hooked: Option<&Hooked<'_>>,
    waiting: Option<BorrowedFd<'_>>,
) -> Result<Option<OwnedFd>> {
    let mut master = None;
    loop {
        match init::hear(child.sync.as_fd())? {
            Some((Message::Ready, _)) => return Ok(master),
            Some((Message::Console, mut fds)) => master = fds.pop(),
            Some((Message::Built, _)) => {
                hooked.map_or(Ok(()), |hooked| launch::run_hooks(child, hooked, waiting))?;
            }
            Some((Message::Failed(error), _)) => return Err(error),
            Some((Message::Pid(_), _)) => {}
            None => {
                return Err(Error::setup(
                    "init ended during the preparation: see the limits of memory and processes",
                ));
            }
        }
    }
}

fn own_program() -> Result<OwnedFd> {
    rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .doing("open our own program")
}
