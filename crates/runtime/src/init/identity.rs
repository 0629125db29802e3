//! Who the program runs as and what it may do: limits, user, capabilities, system call filter.

use super::lookup::{self, Program};
use super::rootfs::Built;
use crate::error::{Doing, Error, Result, Stage};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io::Read;
use wharf_oci::runtime_spec::{Capabilities, Process};
use wharf_sys::process;
use wharf_sys::seccomp;

/// Takes on everything that makes the process the container's, in the order the kernel's permissions need,
/// and finds the program.
pub fn take_on(spec: &Process, filter: Option<&(seccomp::Program, u64)>) -> Result<Program> {
    for limit in &spec.rlimits {
        let number = process::rlimit_number(&limit.kind)
            .ok_or_else(|| Error::setup(format!("unknown resource limit {:?}", limit.kind)))?;
        process::set_rlimit(number, limit.soft, limit.hard).doing(format_args!("set {}", limit.kind))?;
    }
    let mut spec = std::borrow::Cow::Borrowed(spec);
    if !spec.env.iter().any(|e| e.starts_with("HOME=")) {
        let home = home_of(spec.user.uid);
        spec.to_mut().env.push(format!("HOME={home}"));
    }
    if let Some(caps) = &spec.capabilities {
        drop_bounding(&set_of(&caps.bounding)?)?;
    }
    if spec.no_new_privileges {
        rustix::thread::set_no_new_privs(true).doing("set no_new_privs")?;
    } else if let Some((program, flags)) = filter {
        // Without no_new_privs loading needs CAP_SYS_ADMIN, which is about to go.
        program.load(*flags).doing("load the system call filter")?;
    }
    rustix::thread::set_keep_capabilities(true).doing("keep capabilities")?;
    process::become_user(spec.user.uid, spec.user.gid, &spec.user.additional_gids)
        .doing(format_args!("become user {}:{}", spec.user.uid, spec.user.gid))?;
    rustix::thread::set_keep_capabilities(false).doing("keep capabilities")?;
    enter_directory(&spec.cwd)?;
    if let Some(caps) = &spec.capabilities {
        set_capabilities(caps)?;
    }
    if let Some(umask) = spec.user.umask {
        rustix::process::umask(Mode::from_raw_mode(umask));
    }
    let program = lookup::find(&spec)?;
    if spec.no_new_privileges
        && let Some((filter, flags)) = filter
    {
        filter.load(*flags).doing("load the system call filter")?;
    }
    Ok(program)
}

/// Changes to the working directory, as the user: it may be closed to root on a network file system. A link of procfs
/// may lead out of the root to a directory that is open elsewhere (CVE-2024-21626); getcwd(2) tells.
fn enter_directory(path: &str) -> Result<()> {
    rustix::process::chdir(path).map_err(|e| {
        // Clients tell these apart as they do for the program.
        let stage = match e {
            Errno::NOENT | Errno::NOTDIR => Stage::NotFound,
            Errno::ACCESS => Stage::NotExecutable,
            _ => Stage::Setup,
        };
        Error { stage, message: format!("chdir to cwd ({path:?}) set in config.json failed: {e}") }
    })?;
    match rustix::process::getcwd(Vec::new()) {
        Ok(found) if found.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(Error::setup(format!(
            "chdir to cwd ({path:?}) set in config.json: it is outside of the container's root"
        ))),
        Err(e) => Err(Error::setup(format!("see where cwd ({path:?}) set in config.json leads: {e}"))),
    }
}

/// A keyring of its own for every container.
pub fn join_keyring() -> Result<()> {
    match process::join_session_keyring("_ses.wharf") {
        // A quota of keys or a filter around us is no reason not to start.
        Err(e) if matches!(e.raw_os_error(), Some(122 | 1 | 13)) => Ok(()),
        other => other.doing("join a session keyring"),
    }
}

/// Writes the OOM score adjustment; a value below the current one needs CAP_SYS_RESOURCE and is else left.
pub fn write_oom_score(built: &Built, score: Option<i32>) -> Result<()> {
    let Some(score) = score else { return Ok(()) };
    let what = "set oom_score_adj";
    let fd = built.open_proc("self/oom_score_adj", OFlags::WRONLY).doing(what)?;
    match rustix::io::write(&fd, score.to_string().as_bytes()) {
        Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        other => other.map(|_| ()).doing(what),
    }
}

/// The same through the procfs in sight, for the children to inherit.
pub(crate) fn write_own_oom_score(score: i32) -> Result<()> {
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other.doing("set oom_score_adj"),
    }
}

/// Bytes of `/etc/passwd` that are looked at.
const MAX_PASSWD: u64 = 4 << 20;

/// The user's home; `/` when nobody says. The file is the container's: what is no regular file is not waited for.
fn home_of(uid: u32) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut passwd = Vec::new();
    if let Ok(fd) = rustix::fs::open("/etc/passwd", flags, Mode::empty())
        && rustix::fs::fstat(&fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
    {
        // What cannot be read names nobody.
        let _ = std::fs::File::from(fd).take(MAX_PASSWD).read_to_end(&mut passwd);
    }
    let passwd = String::from_utf8_lossy(&passwd);
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() >= 6 && fields[2].parse() == Ok(uid)).then(|| fields[5].to_owned())
    });
    home.filter(|h| !h.is_empty()).unwrap_or_else(|| "/".to_owned())
}

const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn set_of(names: &[String]) -> Result<CapabilitySet> {
    let mut set = CapabilitySet::empty();
    for name in names {
        let short = name.strip_prefix("CAP_").unwrap_or(name);
        let number = NAMES.iter().position(|n| *n == short);
        let number = number.ok_or_else(|| Error::setup(format!("unknown capability {name:?}")))?;
        set |= CapabilitySet::from_bits_retain(1 << number);
    }
    Ok(set)
}

fn drop_bounding(keep: &CapabilitySet) -> Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break, // beyond the last one of this kernel
            other => other.doing("drop a capability from the bounding set")?,
        }
    }
    Ok(())
}

fn set_capabilities(caps: &Capabilities) -> Result<()> {
    // What Wharf itself was not given it cannot hand on.
    let own = rustix::thread::capabilities(None).doing("read capabilities")?.permitted;
    let part = |names: &[String]| Ok::<_, Error>(set_of(names)? & own);
    let sets = CapabilitySets {
        effective: part(&caps.effective)?,
        permitted: part(&caps.permitted)?,
        inheritable: part(&caps.inheritable)?,
    };
    rustix::thread::set_capabilities(None, sets).doing("set capabilities")?;
    let ambient = part(&caps.ambient)?;
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if ambient.contains(capability) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)
                .doing("raise an ambient capability")?;
        }
    }
    Ok(())
}
