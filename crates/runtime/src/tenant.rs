//! A further process in a running container: `exec`.

use crate::error::{Doing, Error, Result};
use crate::init::{self, Message, console, identity, labels, streams};
use crate::launch;
use crate::userns::{self, Namespace};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use wharf_oci::runtime_spec::Process;
use wharf_sys::cgroup::Cgroup;
use wharf_sys::process::{self, Cloned, SingleThreaded, flag};
use wharf_sys::seccomp::Program;
use wharf_sys::socket;

/// What a further process needs.
pub struct Plan<'a> {
    /// What to run.
    pub process: &'a Process,
    /// The container's first process.
    pub container: BorrowedFd<'a>,
    /// The container's cgroup.
    pub cgroup: Option<&'a Cgroup>,
    /// stdin, stdout, stderr without a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
    /// The system call filter.
    pub seccomp: Option<(Program, u64)>,
    /// How many descriptors from 3 on the program inherits.
    pub preserve_fds: u32,
}

impl Plan<'_> {
    /// What the process needs open until it executes its program.
    fn kept<'a>(&'a self, sync: &'a OwnedFd) -> impl Iterator<Item = BorrowedFd<'a>> {
        self.stdio.iter().flatten().chain([sync]).map(AsFd::as_fd)
    }
}

/// A further process that runs.
pub struct Tenant {
    /// Process id on the host.
    pub pid: i32,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// A further process between its clone and its program.
pub struct Starting {
    /// Readable when it has something to tell.
    pub sync: OwnedFd,
    /// Process id on the host, once known. Nobody but the caller reaps it.
    pub pid: Option<i32>,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
    intermediate: i32,
}

/// What a starting process told.
pub enum Heard {
    /// It is on its way.
    Nothing,
    /// Its program runs, or has run already.
    Executed {
        /// Process id on the host.
        pid: i32,
    },
}

impl Starting {
    /// Receives one message. The order of messages is not fixed: two processes send them.
    ///
    /// # Errors
    /// When the program could not be executed.
    pub fn hear(&mut self) -> Result<Heard> {
        match (init::hear(self.sync.as_fd())?, self.pid) {
            (Some((Message::Pid(pid), _)), _) => self.pid = Some(pid),
            (Some((Message::Console, mut fds)), _) => self.terminal = fds.pop(),
            (Some((Message::Failed(error), _)), _) => return Err(error),
            (Some((other, _)), _) => return Err(Error::setup(format!("unexpected message {other:?}"))),
            (None, Some(pid)) => return Ok(Heard::Executed { pid }),
            (None, None) => return Err(Error::setup("the process ended on its way into the container")),
        }
        Ok(Heard::Nothing)
    }

    /// Ends it, wherever it is.
    pub fn kill(&self) {
        for pid in [Some(self.intermediate), self.pid].into_iter().flatten() {
            // Ours until we reap it, so the number is nobody else's; one that was reaped is gone.
            let _ = wharf_sys::signals::send(pid, 9);
        }
    }
}

/// Begins to start the process. The caller hears what becomes of it.
pub fn begin(proof: &SingleThreaded, plan: Plan<'_>) -> Result<Starting> {
    let users = Namespace::of_pidfd(plan.container)?;
    let (files, into) = match plan.cgroup {
        // From inside of its user namespace nobody may start a process into the cgroup: the intermediate one joins.
        Some(cgroup) if users.is_some() && cgroup.takes_births() => (Vec::new(), None),
        Some(cgroup) => match cgroup.clone_target().doing("open the cgroup")? {
            Some(target) => (Vec::new(), Some(target)),
            None => (cgroup.membership_files().doing("open the cgroup")?, None),
        },
        None => (Vec::new(), None),
    };
    let (ours, theirs) = socket::message_pair().doing("make a socket pair")?;
    match process::clone(proof, 0, None).doing("fork")? {
        Cloned::Child => {
            drop(ours);
            intermediate(proof, plan, users, &files, into, theirs)
        }
        Cloned::Parent { pid, .. } => {
            Ok(Starting { sync: ours, pid: None, terminal: None, intermediate: pid })
        }
    }
}

/// Starts the process and returns when it executes its program.
pub fn start(proof: &SingleThreaded, plan: Plan<'_>) -> Result<Tenant> {
    let mut starting = begin(proof, plan)?;
    let heard = loop {
        match starting.hear() {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Executed { pid }) => break Ok(pid),
            Err(e) => break Err(e),
        }
    };
    launch::reap(starting.intermediate)?;
    match heard {
        Ok(pid) => Ok(Tenant { pid, terminal: starting.terminal }),
        Err(error) => {
            if let Some(pid) = starting.pid {
                launch::reap(pid)?;
            }
            Err(error)
        }
    }
}

/// Joins the container and starts the process as a child of the monitor.
fn intermediate(
    proof: &SingleThreaded,
    plan: Plan<'_>,
    users: Option<Namespace>,
    files: &[OwnedFd],
    into: Option<OwnedFd>,
    sync: OwnedFd,
) -> ! {
    let prepared = init::hide()
        .and_then(|()| users.as_ref().map_or(Ok(()), |users| go_before(&plan, users)))
        // The container's own may show anything.
        .and_then(|()| labels::procfs_for(plan.process));
    let procfs = match prepared {
        Ok(procfs) => procfs,
        Err(e) => {
            let told = init::tell(sync.as_fd(), &Message::Failed(e.cut()), &[]);
            process::exit_now(i32::from(told.is_err()))
        }
    };
    let users = users.map_or(0, |_| flag::NEWUSER);
    let all =
        users | flag::NEWNS | flag::NEWUTS | flag::NEWIPC | flag::NEWPID | flag::NEWNET | flag::NEWCGROUP;
    let keep = files
        .iter()
        .chain(&into)
        .chain(&procfs)
        .map(AsFd::as_fd)
        .chain([plan.container])
        .chain(plan.kept(&sync));
    let cloned = process::close_others(&keep.collect::<Vec<_>>(), plan.preserve_fds)
        .and_then(|()| init::join_cgroup(files).map_err(std::io::Error::from))
        .and_then(|()| process::setns(plan.container, all))
        .and_then(|()| process::clone(proof, flag::PARENT, into.as_ref().map(AsFd::as_fd)));
    match cloned {
        Ok(Cloned::Child) => {
            drop(into);
            let error = match become_program(plan, users != 0, procfs, &sync) {
                Err(e) => e,
                Ok(never) => match never {},
            };
            let told = init::tell(sync.as_fd(), &Message::Failed(error.cut()), &[]);
            process::exit_now(i32::from(told.is_err()) + 126)
        }
        other => launch::hand_over(other, &sync, "join the container"),
    }
}

/// What only the host's root may do, before the container's user namespace is entered.
fn go_before(plan: &Plan<'_>, users: &Namespace) -> Result<()> {
    if let Some(cgroup) = plan.cgroup.filter(|cgroup| cgroup.takes_births()) {
        // 0 is whoever writes it.
        cgroup.add(0).doing("join the cgroup")?;
    }
    match &plan.stdio {
        Some(stdio) => users.give_streams(stdio.iter().map(AsFd::as_fd))?,
        None => {
            let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
            users.give_streams(own.into_iter())?;
        }
    }
    userns::raise_ceilings(plan.process)
}

fn become_program(
    plan: Plan<'_>,
    in_users: bool,
    procfs: Option<OwnedFd>,
    sync: &OwnedFd,
) -> Result<std::convert::Infallible> {
    if in_users {
        process::become_namespace_root().doing("become root of the user namespace")?;
    }
    let kept = plan.kept(sync).chain(procfs.iter().map(AsFd::as_fd));
    process::close_others(&kept.collect::<Vec<_>>(), plan.preserve_fds).doing("close descriptors")?;
    process::default_signals();
    rustix::process::setsid().doing("start a session")?;
    if plan.process.terminal {
        let console = console::open(&devpts()?, "ptmx", plan.process.console_size)?;
        init::tell(sync.as_fd(), &Message::Console, &[console.master.as_fd()])?;
        console::take(&console)?;
    } else if let Some(stdio) = &plan.stdio {
        for (number, fd) in stdio.iter().enumerate() {
            process::place_fd(fd.as_fd(), number as i32).doing("place standard streams")?;
        }
    }
    streams::settle(plan.process)?;
    if let Some(procfs) = procfs {
        labels::take_on(plan.process, |path| labels::open(procfs.as_fd(), path))?;
    }
    identity::join_keyring()?;
    let program = identity::take_on(plan.process, plan.seccomp.as_ref())?;
    process::close_on_exec_from(3 + plan.preserve_fds).doing("close descriptors")?;
    let error = process::exec(&program.path, &program.args, &program.env);
    Err(init::lookup::refused(&plan.process.args, &error))
}

/// Opens the container's `/dev/pts`, making sure that it is one: the container may have put anything there.
fn devpts() -> Result<OwnedFd> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open("/dev/pts", flags, Mode::empty()).doing("open /dev/pts")?;
    if rustix::fs::fstatfs(&fd).doing("look at /dev/pts")?.f_type as i64 != DEVPTS_SUPER_MAGIC {
        return Err(Error::setup("/dev/pts of the container is no devpts: it cannot have a terminal"));
    }
    Ok(fd)
}
