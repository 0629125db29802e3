//! What a container's first process does before it becomes the program.

pub mod console;
mod copy_up;
mod guard;
pub mod identity;
pub mod images;
pub mod labels;
pub mod lookup;
pub mod membership;
pub mod mounts;
mod null;
pub mod options;
pub mod overlay;
pub mod rootfs;
pub mod stock;
pub mod streams;

use crate::error::{Doing, Error, Result, Stage};
use crate::hooks::{self, Hooked};
use crate::protocol::Rootfs;
use crate::sysctl::Sysctl;
use crate::userns::{Namespace, Prepared};
use images::Images;
use membership::{Entrance, Membership};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use stock::Stock;
use wharf_failpoint::failpoint;
use wharf_oci::runtime_spec::{Hook, NamespaceKind, Spec, State};
use wharf_sys::process::{self, SingleThreaded, flag};
use wharf_sys::seccomp::Program;
use wharf_sys::{signals, socket};

/// What init tells its parent. One message each over a socket that keep boundaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// From the intermediate process: the process id of the real one.
    Pid(i32),
    /// The master side of the terminal comes along as a descriptor.
    Console,
    /// The root is built; waits for the hooks that its parent runs.
    Built,
    /// Prepared; waits to go on.
    Ready,
    /// Failed; the process ends now.
    Failed(Error),
}

/// Sends a message to the parent.
pub fn tell(sync: BorrowedFd<'_>, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let bytes = serde_json::to_vec(message).doing("encode a message")?;
    socket::send(sync, &bytes, fds).doing("tell the monitor")
}

/// Receives a message of init; `None` when it executed its program (or died).
pub fn hear(sync: BorrowedFd<'_>) -> Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut buffer = [0u8; 16 * 1024];
    let (n, fds) = match socket::receive(sync, &mut buffer) {
        // It ended with a word of ours unread. The kernel tells that once, before what it had said itself.
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => socket::receive(sync, &mut buffer),
        other => other,
    }
    .doing("hear from init")?;
    if n == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&buffer[..n]).doing("decode a message of init")?;
    Ok(Some((message, fds)))
}

/// How init learns that it may execute the program.
pub enum Gate {
    /// Any message on the sync socket.
    Sync,
    /// A connection to this listening socket (`wharf oci start`); it is told of failures and closed by exec.
    Listener(OwnedFd),
}

/// What init needs beyond the configuration.
pub struct Plan<'a> {
    /// The configuration.
    pub spec: &'a Spec,
    /// The root file system.
    pub root: &'a Rootfs,
    /// Directory that the root is mounted on for a moment; nothing is left there.
    pub mount_point: &'a Path,
    /// What the engine has mounted for it.
    pub images: Images,
    /// stdin, stdout, stderr without a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
    /// The way into the cgroup.
    pub membership: Membership,
    /// The directories of the container's cgroup with their names, for `/sys/fs/cgroup` of version 1.
    pub cgroup_view: Vec<(String, std::path::PathBuf)>,
    /// The system call filter.
    pub seccomp: Option<(Program, u64)>,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: Vec<Sysctl>,
    /// When to go on.
    pub gate: Gate,
    /// How many descriptors from 3 on the program inherits.
    pub preserve_fds: u32,
    /// File systems made ahead.
    pub stock: Stock,
    /// Our own program, to be process 1 of the container.
    pub init_program: Option<OwnedFd>,
    /// Ends with its parent.
    pub die_with_parent: bool,
    /// What mounts are mapped by, by their place among the configuration's.
    pub idmaps: BTreeMap<usize, Namespace>,
    /// What was made outside, for a process that was born in a user namespace.
    pub prepared: Option<Prepared>,
    /// Programs to run on the way.
    pub hooked: Option<Hooked<'a>>,
}

impl Plan<'_> {
    /// The SELinux label of the container's mounts; empty for none.
    pub(crate) fn mount_label(&self) -> &str {
        self.spec.linux.as_ref().map_or("", |l| l.mount_label.as_str())
    }

    /// All that init needs open.
    fn descriptors<'a>(&'a self, sync: &'a OwnedFd) -> Vec<BorrowedFd<'a>> {
        let gate = match &self.gate {
            Gate::Sync => None,
            Gate::Listener(listener) => Some(listener),
        };
        let files = match &self.membership {
            Membership::Files(files) => files.as_slice(),
            Membership::Inside | Membership::Awaited => &[],
        };
        let all = self.stdio.iter().flatten().chain(files);
        all.chain(gate)
            .chain(&self.init_program)
            .chain([sync])
            .map(AsFd::as_fd)
            .chain(self.stock.descriptors())
            .chain(self.images.descriptors())
            .chain(self.idmaps.values().map(Namespace::fd))
            .chain(self.prepared.iter().flat_map(Prepared::descriptors))
            .collect()
    }
}

/// Runs in the new process and never returns.
pub fn run(plan: Plan<'_>, sync: OwnedFd) -> ! {
    let mut report = sync;
    let error = match prepare_and_exec(plan, &mut report) {
        Err(e) => e,
        Ok(never) => match never {},
    };
    // When the parent is gone there is nobody to tell.
    let _ = tell(report.as_fd(), &Message::Failed(error.cut()), &[]);
    process::exit_now(1)
}

fn prepare_and_exec(mut plan: Plan<'_>, report: &mut OwnedFd) -> Result<std::convert::Infallible> {
    failpoint!("init.born");
    hide()?;
    process::close_others(&plan.descriptors(report), plan.preserve_fds).doing("close descriptors")?;
    let linux =
        plan.spec.linux.as_ref().ok_or_else(|| Error::setup("the configuration has no linux section"))?;
    let process =
        plan.spec.process.as_ref().ok_or_else(|| Error::setup("the configuration has no process"))?;
    process::default_signals();
    if plan.prepared.is_some() {
        process::become_namespace_root().doing("become root of the user namespace")?;
    }
    let way = std::mem::take(&mut plan.membership);
    let mut entrance = Entrance::new(way, report.as_fd(), creates(plan.spec, NamespaceKind::Cgroup));
    entrance.pass_early()?;
    if plan.prepared.is_none() {
        join_namespaces(plan.spec)?;
    }
    rustix::process::setsid().doing("start a session")?;
    if creates(plan.spec, NamespaceKind::Network) {
        process::loopback_up().doing("bring up the loopback interface")?;
    }

    let stock = std::mem::take(&mut plan.stock);
    failpoint!("init.session");
    let built = rootfs::build(&plan, stock, &mut entrance)?;
    failpoint!("init.root-built");
    if process.terminal {
        let console = console::create(&built, process.console_size)?;
        tell(report.as_fd(), &Message::Console, &[console.master.as_fd()])?;
        console::take(&console)?;
    } else if let Some(stdio) = &plan.stdio {
        for (number, fd) in stdio.iter().enumerate() {
            process::place_fd(fd.as_fd(), number as i32).doing("place standard streams")?;
        }
    }
    set_names(plan.spec)?;
    rootfs::write_sysctls(&built, &plan.sysctls)?;
    if plan.prepared.is_none() {
        identity::write_oom_score(&built, process.oom_score_adj)?;
    }
    run_hooks(&plan, report)?;
    labels::take_on(process, |path| built.open_attribute(path))?;
    rootfs::restrict(&built, linux)?;
    rootfs::enter(&plan, built)?;
    failpoint!("init.root-entered");
    streams::settle(process)?;
    // A program that is not there is an error of the creation, as with runc; who may execute it is seen later.
    lookup::find(process)?;

    tell(report.as_fd(), &Message::Ready, &[])?;
    failpoint!("init.ready");
    wait_at(&plan.gate, report)?;
    failpoint!("init.let-go");
    identity::join_keyring()?;
    let program = identity::take_on(process, plan.seccomp.as_ref())?;
    if plan.die_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .doing("tie the container to its monitor")?;
    }
    process::close_on_exec_from(3 + plan.preserve_fds).doing("close descriptors")?;
    if let Some(Hooked { proof, hooks, state }) = &plan.hooked {
        let state = hooks::at(state, "created", own_id());
        run_within("startContainer", proof, &hooks.start_container, &state, report.as_fd())?;
    }
    failpoint!("init.exec");
    let error = match &plan.init_program {
        None => process::exec(&program.path, &program.args, &program.env),
        Some(init) => crate::reaper::exec(init.as_fd(), &program),
    };
    Err(lookup::refused(&process.args, &error))
}

/// The word that the parent's hooks are done.
pub(crate) const HOOKS_DONE: &[u8] = b"hooks done";

/// The hooks that find the root built, and the host's tree still in sight.
fn run_hooks(plan: &Plan<'_>, report: &OwnedFd) -> Result<()> {
    let Some(Hooked { proof, hooks, state }) = &plan.hooked else { return Ok(()) };
    if hooks::waits_for_parent(hooks) {
        tell(report.as_fd(), &Message::Built, &[])?;
        let mut word = [0u8; 16];
        let (n, _) = socket::receive(report.as_fd(), &mut word).doing("wait for the hooks")?;
        if n == 0 {
            return Err(Error::setup("the start was given up"));
        }
    }
    let state = hooks::at(state, "creating", own_id());
    run_within("createContainer", proof, &hooks.create_container, &state, report.as_fd())
}

/// Runs hooks as children of this process. One that does not read its input must not end us.
fn run_within(
    kind: &str,
    proof: &SingleThreaded,
    list: &[Hook],
    state: &State,
    parent: BorrowedFd<'_>,
) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    signals::ignore(SIGPIPE);
    let ran = hooks::run(proof, kind, list, state, Some(parent));
    process::default_signals();
    ran
}

const SIGPIPE: i32 = 13;

/// Our process id as the container sees it, which is what a hook in there is told.
fn own_id() -> Option<i32> {
    Some(rustix::process::getpid().as_raw_nonzero().get())
}

/// Keeps the processes of the container off this one, until it executes the program: it has the same rights as they
/// for a moment, but no filter yet, and our memory.
pub(crate) fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .doing("hide the process")
}

/// Whether the configuration creates a namespace of this kind.
pub fn creates(spec: &Spec, kind: NamespaceKind) -> bool {
    let namespaces = spec.linux.as_ref().map(|l| l.namespaces.as_slice()).unwrap_or_default();
    namespaces.iter().any(|n| n.kind == kind && n.path.is_empty())
}

/// The flag of clone3(2) for a kind of namespace.
pub fn flag_of(kind: NamespaceKind) -> u64 {
    match kind {
        NamespaceKind::Pid => flag::NEWPID,
        NamespaceKind::Network => flag::NEWNET,
        NamespaceKind::Mount => flag::NEWNS,
        NamespaceKind::Ipc => flag::NEWIPC,
        NamespaceKind::Uts => flag::NEWUTS,
        NamespaceKind::User => flag::NEWUSER,
        NamespaceKind::Cgroup => flag::NEWCGROUP,
        NamespaceKind::Time => 0x80,
    }
}

/// Writes `0`, meaning the writer itself, to each membership file.
pub fn join_cgroup(files: &[OwnedFd]) -> rustix::io::Result<()> {
    for file in files {
        rustix::io::write(file, b"0")?;
    }
    Ok(())
}

/// Joins what the configuration names by path, but for PID and user namespaces.
pub(crate) fn join_namespaces(spec: &Spec) -> Result<()> {
    let namespaces = spec.linux.as_ref().map(|l| l.namespaces.as_slice()).unwrap_or_default();
    // The PID namespace is joined by the intermediate process: it only takes effect on children.
    for namespace in namespaces
        .iter()
        .filter(|n| !n.path.is_empty() && !matches!(n.kind, NamespaceKind::Pid | NamespaceKind::User))
    {
        let what = || format!("join namespace {}", namespace.path);
        let fd = std::fs::File::open(&namespace.path).doing(what())?;
        process::setns(fd.as_fd(), flag_of(namespace.kind)).doing(what())?;
    }
    Ok(())
}

fn set_names(spec: &Spec) -> Result<()> {
    if !creates(spec, NamespaceKind::Uts) {
        return Ok(());
    }
    if !spec.hostname.is_empty() {
        process::set_hostname(&spec.hostname).doing(format_args!("set host name {:?}", spec.hostname))?;
    }
    if !spec.domainname.is_empty() {
        process::set_domainname(&spec.domainname)
            .doing(format_args!("set domain name {:?}", spec.domainname))?;
    }
    Ok(())
}

fn wait_at(gate: &Gate, report: &mut OwnedFd) -> Result<()> {
    let mut buffer = [0u8; 16];
    match gate {
        Gate::Sync => {
            let (n, _) = socket::receive(report.as_fd(), &mut buffer).doing("wait for the start")?;
            if n == 0 {
                return Err(Error::setup("the start was given up"));
            }
        }
        Gate::Listener(listener) => {
            // From here on whoever starts the container is told of failures, not who created it.
            *report = rustix::net::acceptfrom_with(listener, rustix::net::SocketFlags::CLOEXEC)
                .map(|(fd, _)| fd)
                .doing("wait for the start")?;
        }
    }
    Ok(())
}

/// The error of a stage after set-up.
pub(crate) fn staged(stage: Stage, message: String) -> Error {
    Error { stage, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_last_word_arrives_though_ours_was_not_read() {
        let (ours, inits) = socket::message_pair().unwrap();
        socket::send(ours.as_fd(), b"go", &[]).unwrap();
        tell(inits.as_fd(), &Message::Failed(Error::setup("no such directory")), &[]).unwrap();
        drop(inits);
        let heard = hear(ours.as_fd()).unwrap();
        assert!(matches!(heard, Some((Message::Failed(_), _))));
        assert!(hear(ours.as_fd()).unwrap().is_none());
    }

    #[test]
    fn an_end_without_a_word_is_an_end() {
        let (ours, inits) = socket::message_pair().unwrap();
        socket::send(ours.as_fd(), b"go", &[]).unwrap();
        drop(inits);
        assert!(hear(ours.as_fd()).unwrap().is_none());
    }
}
