//! Processes: clone3(2), execve(2), namespaces, limits.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ffi::CString;
use std::io;

/// Proof that this process has one thread, so that a forked child may run any code.
///
/// A fork of a threaded process leaves locks held forever in the child; only a holder of this may fork.
/// It cannot be sent to another thread.
pub struct SingleThreaded(std::marker::PhantomData<*const ()>);

impl SingleThreaded {
    /// Checks `/proc/self/task`. The caller promises by its design to start no thread later.
    pub fn verify() -> io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(std::marker::PhantomData)),
            n => Err(io::Error::other(format!("this process has {n} threads, forking needs exactly one"))),
        }
    }
}

/// Flags of clone3(2) and setns(2).
pub mod flag {
    /// New or other mount namespace.
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    /// New or other UTS namespace.
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    /// New or other IPC namespace.
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    /// New or other PID namespace.
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    /// New or other network namespace.
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    /// New or other user namespace.
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
    /// New or other cgroup namespace.
    pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// The child's parent is the caller's parent.
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;
}

/// Who returns from [`clone`].
pub enum Cloned {
    /// The new process.
    Child,
    /// The caller.
    Parent {
        /// The child's process id in the caller's PID namespace.
        pid: i32,
        /// Refers to the child for good.
        pidfd: OwnedFd,
    },
}

const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks with namespaces, clone3(2). `cgroup` is a directory of cgroup v2 that the child begins in.
pub fn clone(_proof: &SingleThreaded, flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data for which all zeroes is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | CLONE_PIDFD;
    args.pidfd = (&raw mut pidfd) as u64;
    // With CLONE_PARENT the signal is that of the caller's own and must be 0 here.
    args.exit_signal = if flags & flag::PARENT != 0 { 0 } else { libc::SIGCHLD as u64 };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM this is a fork: the child gets a copy of the address space, and by
    // `_proof` no other thread held a lock at that moment. `args` and `pidfd` outlive the call.
    let mut pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    // Inside a container the filter hides clone3, whose flags it cannot see.
    if pid == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) && cgroup.is_none() {
        pid = clone_before_clone3(args.flags | args.exit_signal, &raw mut pidfd);
    }
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent {
            pid: pid as i32,
            // SAFETY: the kernel stored a new descriptor, which nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// clone(2), which returns the pidfd where it would return the parent's thread id.
fn clone_before_clone3(flags: u64, pidfd: *mut libc::c_int) -> libc::c_long {
    let none = std::ptr::null_mut::<libc::c_int>();
    // SAFETY: as for clone3 above; a null stack means the child goes on with its copy of this one. The two
    // arguments whose order differs between architectures are both null.
    unsafe { libc::syscall(libc::SYS_clone, flags, none, pidfd, none, none) }
}

/// Replaces the program, execve(2). Returns only on failure.
pub fn exec(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer, and they and their strings live until the call returns.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the program by the one behind a descriptor, execveat(2) with AT_EMPTY_PATH. Returns only on failure.
pub fn exec_fd(fd: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: as in `exec`; the empty path is a static C string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Ends the process at once, without running exit handlers that belong to the parent's copy.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Enters namespaces, setns(2). `fd` is a namespace file, or a pidfd with several flags.
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    // SAFETY: setns takes no pointers.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags as libc::c_int) })
}

/// Leaves namespaces for new ones, unshare(2).
pub fn unshare(flags: u64) -> io::Result<()> {
    // SAFETY: unshare takes no pointers; CLONE_FILES is not among the flags of [`flag`].
    check(unsafe { libc::unshare(flags as libc::c_int) })
}

/// Starts with a session keyring of its own, keyctl(2), so that the container cannot read the host's keys.
/// Kernels without keys answer ENOSYS, which is fine: there is nothing to keep apart.
pub fn join_session_keyring(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the name is a C string that outlives the call.
    let r = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    match r {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            e => Err(e),
        },
        _ => Ok(()),
    }
}

/// Marks every descriptor from `first` on close-on-exec, close_range(2). Kernels before 5.11 lack the flag;
/// there each open descriptor is marked by itself.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_int = 4;
    // SAFETY: only sets a flag on descriptors; closes nothing that somebody owns.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|n| n.parse::<libc::c_int>().ok()) else { continue };
        if fd as u32 >= first {
            // SAFETY: F_SETFD changes a flag only; a descriptor closed meanwhile gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Puts a descriptor at a fixed number, without close-on-exec, dup3(2).
pub fn place_fd(fd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: F_SETFD changes a flag only.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) });
    }
    // SAFETY: the caller names 0, 1, 2 or a number it passes on to exec; whatever was there is replaced, as
    // dup2 says. No OwnedFd of this crate's users has those numbers.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) })
}

/// Closes what this process inherited under these numbers, before anything owns them.
pub fn close_inherited_from(first: u32) -> io::Result<()> {
    // SAFETY: called at the entry of a program, when no descriptor from `first` on has an owner yet.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Closes every descriptor but standard streams, those in `keep`, and `preserved` ones from 3 on. For a child right
/// after its start: what its parent had open is of no use to it, and a danger once the child is inside a container.
/// Owners of what is closed must not be used or dropped in this process any more.
///
/// # Errors
/// Those of close_range(2).
pub fn close_others(keep: &[BorrowedFd<'_>], preserved: u32) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut first = 3 + preserved;
    for number in kept.into_iter().chain([u32::MAX]) {
        if number > first {
            // SAFETY: by contract nobody in this process uses what is closed.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) } as libc::c_int)?;
        }
        first = first.max(number.saturating_add(1));
    }
    Ok(())
}

/// Takes ownership of a descriptor that the parent left open under a known number.
pub fn inherited_fd(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only reads; it tells whether the number is open.
    check(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    // SAFETY: it is open, and by contract the parent gave it to us and nobody else takes it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets a resource limit, prlimit(2), by the kernel's number of the resource.
/// Without the right to raise the ceiling, what can be had is set, and `Ok(false)` returned.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<bool> {
    let wanted = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the struct outlives the call; `resource` out of range gives EINVAL.
    if unsafe { libc::setrlimit(resource as _, &raw const wanted) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: as above.
    check(unsafe { libc::getrlimit(resource as _, &raw mut now) })?;
    let lowered = libc::rlimit { rlim_cur: soft.min(now.rlim_max), rlim_max: hard.min(now.rlim_max) };
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(resource as _, &raw const lowered) })?;
    Ok(false)
}

/// The kernel's number of `RLIMIT_NOFILE` and so on.
pub fn rlimit_number(name: &str) -> Option<u32> {
    Some(match name.trim_start_matches("RLIMIT_").to_ascii_uppercase().as_str() {
        "CPU" => libc::RLIMIT_CPU,
        "FSIZE" => libc::RLIMIT_FSIZE,
        "DATA" => libc::RLIMIT_DATA,
        "STACK" => libc::RLIMIT_STACK,
        "CORE" => libc::RLIMIT_CORE,
        "RSS" => libc::RLIMIT_RSS,
        "NPROC" => libc::RLIMIT_NPROC,
        "NOFILE" => libc::RLIMIT_NOFILE,
        "MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "AS" => libc::RLIMIT_AS,
        "LOCKS" => libc::RLIMIT_LOCKS,
        "SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "NICE" => libc::RLIMIT_NICE,
        "RTPRIO" => libc::RLIMIT_RTPRIO,
        "RTTIME" => libc::RLIMIT_RTTIME,
        _ => return None,
    })
}

/// Sets user and groups of the whole process, setgroups(2), setresgid(2), setresuid(2).
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the slice outlives the call.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Becomes root of the user namespace that was entered just now, without further groups. Where a namespace forbids to set
/// groups (user_namespaces(7), "Defining user and group ID mappings") they stay.
pub fn become_namespace_root() -> io::Result<()> {
    // SAFETY: an empty list has no pointer to follow.
    match check(unsafe { libc::setgroups(0, std::ptr::null()) }) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {}
        other => other?,
    }
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresgid(0, 0, 0) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresuid(0, 0, 0) })
}

/// Lets this thread work on files as somebody else, with all rights that it has; setfsuid(2), setfsgid(2).
///
/// # Errors
/// When the rights on files, which leave with user 0 (capabilities(7)), cannot be taken up again.
pub fn as_user_on_files<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> io::Result<T> {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            set(0, 0);
        }
    }
    fn set(uid: u32, gid: u32) {
        // SAFETY: takes no pointers; both calls return the former id, and change this thread alone.
        unsafe {
            libc::setfsgid(gid);
            libc::setfsuid(uid);
        }
    }
    let rights = rustix::thread::capabilities(None)?;
    let _back = Back;
    set(uid, gid);
    rustix::thread::set_capabilities(None, rights)?;
    Ok(work())
}

/// Lifts the ceiling of a resource limit, prlimit(2), as far as this process may; the limit in force stays.
pub fn raise_rlimit_ceiling(resource: u32, hard: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct outlives the call; `resource` out of range gives EINVAL.
    check(unsafe { libc::getrlimit(resource as _, &raw mut now) })?;
    if hard <= now.rlim_max {
        return Ok(());
    }
    let wanted = libc::rlimit { rlim_max: hard, ..now };
    // SAFETY: as above.
    match check(unsafe { libc::setrlimit(resource as _, &raw const wanted) }) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => Ok(()),
        other => other,
    }
}

/// Sets host and domain name of the UTS namespace.
pub fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

/// Sets the NIS domain name of the UTS namespace.
pub fn set_domainname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the string.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) })
}

/// Brings the loopback interface of the current network namespace up, SIOCSIFFLAGS.
pub fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let fd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is initialised and outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
}

/// Resets every signal to its default and unblocks all, as a new program expects.
pub fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition; the kernel refuses it for SIGKILL, SIGSTOP and those libc keeps.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an empty set is initialised by sigemptyset before use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Gives memory that malloc holds free back to the kernel, malloc_trim(3).
pub fn trim_heap() {
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

pub(crate) fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rlimits_have_numbers() {
        assert_eq!(rlimit_number("RLIMIT_NOFILE"), Some(7));
        assert_eq!(rlimit_number("nofile"), Some(7));
        assert_eq!(rlimit_number("RLIMIT_WARP"), None);
    }
}
