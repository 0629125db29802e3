//! The parent's side of a start: the cgroup, the new process, and what it reports.

use crate::ahead::Ahead;
use crate::bundle;
use crate::error::{Doing, Error, Result};
use crate::hooks::{self, Hooked};
use crate::init::membership::{ADMITTED, Membership};
use crate::init::{self, Plan};
use crate::userns::{self, Namespace};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use wharf_oci::runtime_spec::{NamespaceKind, Spec};
use wharf_sys::cgroup::{Cgroup, Layout};
use wharf_sys::process::{self, Cloned, SingleThreaded, flag};
use wharf_sys::{signals, socket};

/// A container's first process on its way.
pub struct Child {
    /// Process id on the host.
    pub pid: i32,
    /// Refers to it for good.
    pub pidfd: OwnedFd,
    /// Its reports come from here, and `Go` is sent there.
    pub sync: OwnedFd,
}

/// The namespaces that clone3 creates; the cgroup namespace comes later, when the process is in its cgroup.
pub fn clone_flags(spec: &Spec) -> Result<u64> {
    let linux = spec.linux.as_ref().ok_or_else(|| Error::setup("the configuration has no linux section"))?;
    let mut flags = 0;
    for namespace in linux.namespaces.iter().filter(|n| n.path.is_empty()) {
        match namespace.kind {
            NamespaceKind::Cgroup => {}
            // Made before, and entered on the way.
            NamespaceKind::User => {}
            NamespaceKind::Time => return Err(Error::setup("a new time namespace is not supported")),
            kind => flags |= init::flag_of(kind),
        }
    }
    if flags & flag::NEWNS == 0 {
        return Err(Error::setup("the configuration creates no mount namespace: one is needed for a root"));
    }
    Ok(flags)
}

/// When the first process joins its cgroup.
pub enum Joining<'a> {
    /// There is none.
    Never,
    /// At its birth, or with its first step.
    AtOnce(&'a Cgroup),
    /// When [`admit`] says so, while it builds its root.
    Later,
}

/// Lets a process that was started with [`Joining::Later`] join its cgroup (version 1).
pub fn admit(child: &Child, cgroup: &Cgroup) -> Result<()> {
    let what = "let the container into its cgroup";
    let files = cgroup.membership_files().doing(what)?;
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    tell(child, ADMITTED, &fds).doing(what)
}

/// Lets a process that waits at its gate go on.
pub(crate) fn let_go(child: &Child) -> Result<()> {
    tell(child, b"go", &[]).doing("let the container start")
}

/// One that failed meanwhile hears nothing any more: what it said before its end is the error, not that.
fn tell(child: &Child, word: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    match socket::send(child.sync.as_fd(), word, fds) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        sent => sent,
    }
}

/// Runs the hooks that a first process waits for that has built its root, and lets it go on.
pub(crate) fn run_hooks(child: &Child, hooked: &Hooked<'_>, tie: Option<BorrowedFd<'_>>) -> Result<()> {
    let Hooked { proof, hooks, state } = hooked;
    let state = hooks::at(state, "creating", Some(child.pid));
    hooks::run(proof, "prestart", &hooks.prestart, &state, tie)?;
    hooks::run(proof, "createRuntime", &hooks.create_runtime, &state, tie)?;
    tell(child, init::HOOKS_DONE, &[]).doing("let the container go on")
}

/// Sets which devices a cgroup may use, where that is not done with all limits.
pub fn restrict_devices(spec: &Spec, cgroup: &Cgroup) -> Result<()> {
    let Some(resources) = spec.linux.as_ref().and_then(|l| l.resources.as_ref()) else { return Ok(()) };
    cgroup.restrict_devices(&bundle::limits(resources)?.devices).doing("set the access to devices")
}

/// Starts the first process. It joins the cgroup, builds its root and then waits at the plan's gate. Of the namespaces
/// made ahead all are used or none; the caller is back in the host's in any case.
pub fn start(
    proof: &SingleThreaded,
    mut plan: Plan<'_>,
    joining: Joining<'_>,
    ahead: Option<Ahead>,
) -> Result<Child> {
    init::labels::check(plan.spec)?;
    let mut flags = clone_flags(plan.spec)?;
    let linux = plan.spec.linux.as_ref();
    let with_users = linux.is_some_and(|l| l.namespaces.iter().any(|n| n.kind == NamespaceKind::User));
    let joined = plan.spec.linux.as_ref().and_then(|l| {
        l.namespaces
            .iter()
            .find(|n| n.kind == NamespaceKind::Pid && !n.path.is_empty())
            .map(|n| n.path.clone())
    });
    let ahead = match ahead {
        Some(mut ahead) if joined.is_none() && !with_users && flags & Ahead::FLAGS == Ahead::FLAGS => {
            plan.stock = std::mem::take(&mut ahead.stock);
            Some(ahead)
        }
        Some(ahead) => {
            ahead.leave()?;
            None
        }
        None => None,
    };
    let users = linux.map(|l| Namespace::of_spec(proof, l)).transpose()?.flatten();
    plan.idmaps = userns::of_mounts(proof, plan.spec, users.is_some())?;
    let mut into = None;
    let mut births = None;
    plan.membership = match joining {
        Joining::Never => Membership::Inside,
        Joining::Later => Membership::Awaited,
        Joining::AtOnce(cgroup) => {
            restrict_devices(plan.spec, cgroup)?;
            births = cgroup.takes_births().then_some(cgroup);
            into = cgroup.clone_target().doing("open the cgroup")?;
            match into {
                Some(_) => Membership::Inside,
                None => Membership::Files(cgroup.membership_files().doing("open the cgroup")?),
            }
        }
    };
    let (ours, theirs) = socket::message_pair().doing("make a socket pair")?;
    if let Some(users) = users {
        let way = Way { users, pid: joined, flags, cgroup: births };
        return start_in_user_namespace(proof, plan, &way, (ours, theirs));
    }
    if let Some(path) = joined {
        return start_in_pid_namespace(proof, plan, &path, flags, into, (ours, theirs));
    }
    if ahead.is_some() {
        flags &= !Ahead::FLAGS;
    }
    let cloned = process::clone(proof, flags, into.as_ref().map(AsFd::as_fd));
    if matches!(cloned, Ok(Cloned::Child)) {
        drop(ours);
        init::run(plan, theirs)
    }
    let left = ahead.map_or(Ok(()), Ahead::leave);
    match cloned.doing("create the namespaces")? {
        // Handled above: the child never gets here.
        Cloned::Child => process::exit_now(1),
        Cloned::Parent { pid, pidfd } => {
            if let Err(e) = left {
                // It may have ended already; reaping tells.
                let _ = signals::send_pidfd(pidfd.as_fd(), 9);
                reap(pid)?;
                return Err(e);
            }
            Ok(Child { pid, pidfd, sync: ours })
        }
    }
}

/// A PID namespace is joined by children only, so an intermediate process joins it and starts the real one
/// as its sibling.
fn start_in_pid_namespace(
    proof: &SingleThreaded,
    plan: Plan<'_>,
    path: &str,
    flags: u64,
    into: Option<OwnedFd>,
    (ours, theirs): (OwnedFd, OwnedFd),
) -> Result<Child> {
    let namespace = std::fs::File::open(path).doing(format_args!("join namespace {path}"))?;
    // Of its own: the real process speaks, too, and may be the faster one.
    let (word, told) = socket::message_pair().doing("make a socket pair")?;
    match process::clone(proof, 0, None).doing("fork")? {
        Cloned::Child => {
            drop((ours, word));
            let cloned = process::setns(namespace.as_fd(), flag::NEWPID)
                .and_then(|()| process::clone(proof, flags | flag::PARENT, into.as_ref().map(AsFd::as_fd)));
            match cloned {
                Ok(Cloned::Child) => init::run(plan, theirs),
                other => hand_over(other, &told, &format!("join namespace {path}")),
            }
        }
        Cloned::Parent { pid, .. } => {
            drop((theirs, told));
            await_sibling(pid, &word, ours)
        }
    }
}

/// The way of a first process into a user namespace.
struct Way<'a> {
    users: Namespace,
    /// The PID namespace that is joined.
    pid: Option<String>,
    /// What clone3 creates.
    flags: u64,
    /// The cgroup, if processes are born into it.
    cgroup: Option<&'a Cgroup>,
}

/// An intermediate process does what needs the host's root, enters the user namespace and starts the real one as its
/// sibling: so all other new namespaces belong to the user namespace.
fn start_in_user_namespace(
    proof: &SingleThreaded,
    mut plan: Plan<'_>,
    way: &Way<'_>,
    (ours, theirs): (OwnedFd, OwnedFd),
) -> Result<Child> {
    let (word, told) = socket::message_pair().doing("make a socket pair")?;
    match process::clone(proof, 0, None).doing("fork")? {
        Cloned::Child => {
            drop((ours, word));
            let what = "create the namespaces in the user namespace";
            let cloned = go_before(&mut plan, way).map(|()| {
                let entered = way.users.enter();
                entered.and_then(|()| process::clone(proof, way.flags | flag::PARENT, None))
            });
            match cloned {
                Ok(Ok(Cloned::Child)) => init::run(plan, theirs),
                Ok(other) => hand_over(other, &told, what),
                Err(e) => {
                    let said = init::tell(told.as_fd(), &init::Message::Failed(e.cut()), &[]);
                    process::exit_now(i32::from(said.is_err()))
                }
            }
        }
        Cloned::Parent { pid, .. } => {
            drop((theirs, told));
            await_sibling(pid, &word, ours)
        }
    }
}

fn go_before(plan: &mut Plan<'_>, way: &Way<'_>) -> Result<()> {
    let what = "join the cgroup";
    match std::mem::replace(&mut plan.membership, Membership::Inside) {
        Membership::Files(files) => init::join_cgroup(&files).doing(what)?,
        Membership::Inside | Membership::Awaited => {}
    }
    if let Some(cgroup) = way.cgroup {
        // 0 is whoever writes it.
        cgroup.add(0).doing(what)?;
    }
    userns::go_before(plan, &way.users)?;
    let Some(path) = &way.pid else { return Ok(()) };
    let what = || format!("join namespace {path}");
    let namespace = std::fs::File::open(path).doing(what())?;
    process::setns(namespace.as_fd(), flag::NEWPID).doing(what())
}

/// The intermediate process's last act: tells the parent who the real one is.
pub(crate) fn hand_over(cloned: std::io::Result<Cloned>, sync: &OwnedFd, what: &str) -> ! {
    let message = match cloned {
        Ok(Cloned::Parent { pid, .. }) => init::Message::Pid(pid),
        Ok(Cloned::Child) => process::exit_now(1),
        Err(e) => init::Message::Failed(Error::setup(format!("{what}: {e}")).cut()),
    };
    let told = init::tell(sync.as_fd(), &message, &[]);
    process::exit_now(i32::from(told.is_err()))
}

/// Reaps the intermediate process and learns of the real one.
fn await_sibling(intermediate: i32, word: &OwnedFd, sync: OwnedFd) -> Result<Child> {
    let heard = init::hear(word.as_fd());
    reap(intermediate)?;
    match heard? {
        Some((init::Message::Pid(pid), _)) => {
            let raw = rustix::process::Pid::from_raw(pid).ok_or_else(|| Error::setup("no process id"))?;
            let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
                .doing("open the process")?;
            Ok(Child { pid, pidfd, sync })
        }
        Some((init::Message::Failed(error), _)) => Err(error),
        _ => Err(Error::setup("the intermediate process ended without a word")),
    }
}

/// Waits for one child and returns its exit code.
pub fn reap(pid: i32) -> Result<i32> {
    let raw = rustix::process::Pid::from_raw(pid);
    loop {
        match rustix::process::waitpid(raw, rustix::process::WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(Some((_, status))) => return Ok(exit_code(status)),
            Ok(None) => {}
            Err(e) => return Err(Error::setup(format!("wait for process {pid}: {e}"))),
        }
    }
}

/// The exit code as shells and Docker count: 128 + n after signal n.
pub fn exit_code(status: rustix::process::WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).unwrap_or(255)
}

/// The cgroup of a configuration; `None` when it names none.
pub fn cgroup_of(spec: &Spec, id: &str) -> Result<Option<Cgroup>> {
    let path = spec.linux.as_ref().map(|l| l.cgroups_path.as_str()).unwrap_or_default();
    // systemd's form is slice:prefix:name; we are no client of systemd and make the same path ourselves.
    let path = match path.split(':').collect::<Vec<_>>()[..] {
        [slice, prefix, name] => {
            format!("{}/{prefix}-{name}.scope", if slice.is_empty() { "system.slice" } else { slice })
        }
        _ if path.is_empty() => format!("/wharf-oci-{id}"),
        _ => path.to_owned(),
    };
    let layout = Layout::detect().doing("find the cgroup hierarchies")?;
    Cgroup::at(layout, &path).map(Some).doing("name the cgroup")
}

/// What `/sys/fs/cgroup` of a container shows on version 1: each mount's name with the container's directory.
pub fn cgroup_view(cgroup: &Cgroup) -> Vec<(String, std::path::PathBuf)> {
    cgroup.view_v1()
}
