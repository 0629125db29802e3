//! What security modules know the program by: its AppArmor profile and its SELinux label, and the label of its mounts.

use crate::error::{Doing, Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::path::Path;
use wharf_oci::runtime_spec::{Process, Spec};

/// f_type of a procfs in statfs(2).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Opens a file of a procfs to be written. Nothing that is mounted over the procfs is gone through, and what is found has
/// to be on it: who writes a label elsewhere runs a program without one and does not know (CVE-2019-16884).
///
/// # Errors
/// Of openat2(2); `XDEV` for what is on no procfs.
pub fn open(procfs: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(procfs, path, flags, Mode::empty(), resolve)?;
    if rustix::fs::fstatfs(&file)?.f_type as i64 == PROC_SUPER_MAGIC { Ok(file) } else { Err(Errno::XDEV) }
}

/// The host's procfs, for a process that is about to enter a container; `None` when it takes on nothing.
pub(crate) fn procfs_for(process: &Process) -> Result<Option<OwnedFd>> {
    if process.apparmor_profile.is_empty() && process.selinux_label.is_empty() {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).doing("open /proc").map(Some)
}

/// The program that this thread executes next will have the profile and the label of `process`. Comes before
/// no_new_privs and the filter, which may forbid it. `open` opens a file of a procfs that shows this thread.
///
/// # Errors
/// When the kernel does not know the profile or the label.
pub fn take_on(process: &Process, open: impl Fn(&str) -> rustix::io::Result<OwnedFd>) -> Result<()> {
    if !process.apparmor_profile.is_empty() {
        apparmor(&process.apparmor_profile, &open)?;
    }
    if !process.selinux_label.is_empty() {
        selinux(&process.selinux_label, &open)?;
    }
    Ok(())
}

fn apparmor(profile: &str, open: impl Fn(&str) -> rustix::io::Result<OwnedFd>) -> Result<()> {
    let own = "thread-self/attr/apparmor/exec";
    let (path, file) = match open(own) {
        // Kernels before 5.8 have only the file that all modules share.
        Err(Errno::NOENT) => ("thread-self/attr/exec", open("thread-self/attr/exec")),
        other => (own, other),
    };
    let written = file.and_then(|file| rustix::io::write(&file, format!("exec {profile}").as_bytes()));
    written.map(|_| ()).map_err(|e| {
        let why = match e {
            Errno::NOENT => format!(
                "no such file or directory: the profile {profile:?} is not loaded, apparmor_parser -r FILE loads it"
            ),
            Errno::INVAL => format!("{e}: is AppArmor enabled in this kernel?"),
            e => e.to_string(),
        };
        Error::setup(format!(
            "error during container init: unable to apply apparmor profile: apparmor failed to apply profile: write \
             /proc/{path}: {why}"
        ))
    })
}

fn selinux(label: &str, open: impl Fn(&str) -> rustix::io::Result<OwnedFd>) -> Result<()> {
    let path = "thread-self/attr/exec";
    let write = |path: &str| open(path).and_then(|file| rustix::io::write(&file, label.as_bytes()));
    write(path).map_err(|e| {
        let why = match e {
            Errno::INVAL => format!("the loaded policy has no label {label:?}"),
            e => e.to_string(),
        };
        Error::setup(format!(
            "error during container init: can't set process label: write /proc/{path}: {why}"
        ))
    })?;
    // Its session keyring is the container's, too; the execution resets this.
    match write("thread-self/attr/keycreate") {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(e) => {
            Err(Error::setup(format!("error during container init: can't set the keyring's label: {e}")))
        }
    }
}

/// Refuses labels that this kernel knows nothing of: without them the container would run, but not as confined.
///
/// # Errors
/// When the configuration has a label and SELinux is not enabled.
pub fn check(spec: &Spec) -> Result<()> {
    let wants = |label: &str| !label.is_empty();
    let any = spec.process.as_ref().is_some_and(|p| wants(&p.selinux_label))
        || spec.linux.as_ref().is_some_and(|l| wants(&l.mount_label));
    // The file system is registered where SELinux was enabled at boot.
    let known = |text: String| text.lines().any(|line| line.ends_with("\tselinuxfs"));
    if !any || std::fs::read_to_string("/proc/filesystems").is_ok_and(known) {
        return Ok(());
    }
    Err(Error::setup("selinux label is specified in config, but selinux is disabled or not supported"))
}

/// The options of a file system with the label of all its files. Those that have labels of their own keep them.
pub fn of_mount(kind: &str, data: &[String], label: &str) -> Vec<String> {
    let mut data = data.to_vec();
    let own = matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2" | "mqueue");
    if !label.is_empty() && !own && !data.iter().any(|option| option.starts_with("context=")) {
        data.push(format!("context={label}"));
    }
    data
}

/// What the files of an image are known by below an overlay with a label: as the container's, and for all containers. The
/// kernel looks at them, too, when a program that is mapped from them is protected (mprotect(2)).
pub fn of_images(spec: &Spec) -> String {
    let label = spec.linux.as_ref().map_or("", |l| l.mount_label.as_str());
    let mut parts = label.splitn(4, ':');
    let all: Vec<&str> = parts.by_ref().take(3).collect();
    let level = parts.next().map_or("", |_| ":s0");
    format!("{}{level}", all.join(":"))
}

/// Gives a mounted root its label, for a file system that takes none as an option.
pub fn of_root(mount: BorrowedFd<'_>, label: &str) -> Result<()> {
    use rustix::fd::AsRawFd;
    // The descriptor may be one that names a place only.
    let path = Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string());
    rustix::fs::setxattr(&path, "security.selinux", label.as_bytes(), rustix::fs::XattrFlags::empty())
        .doing(format_args!("set the label {label:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    fn directory(path: &str) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn what_is_written_to_is_on_a_procfs() {
        let proc = directory("/proc");
        assert!(open(proc.as_fd(), "thread-self/comm").is_ok());
        // A link of the kernel's leads away, and a path above it, too.
        assert!(open(proc.as_fd(), "self/fd/0").is_err());
        assert!(open(proc.as_fd(), "../dev/null").is_err());
        assert_eq!(open(directory("/dev").as_fd(), "null").unwrap_err(), Errno::XDEV);
    }

    #[test]
    fn an_unknown_profile_is_named_with_the_mend() {
        let process = Process { apparmor_profile: "nope".into(), ..Process::default() };
        let error = take_on(&process, |_| Err(Errno::NOENT)).unwrap_err();
        assert!(error.message.contains("apparmor failed to apply profile: write /proc/thread-self/attr"));
        assert!(error.message.contains("\"nope\" is not loaded"), "{error}");
        let process = Process { selinux_label: "a:b:c:s0".into(), ..Process::default() };
        let error = take_on(&process, |_| Err(Errno::INVAL)).unwrap_err();
        assert!(error.message.contains("the loaded policy has no label \"a:b:c:s0\""), "{error}");
        assert!(take_on(&Process::default(), |_| Err(Errno::NOENT)).is_ok());
    }

    #[test]
    fn file_systems_get_the_label_that_take_one() {
        let data = vec!["mode=755".to_owned()];
        let label = "u:r:t:s0:c1,c2";
        assert_eq!(of_mount("tmpfs", &data, label), ["mode=755", "context=u:r:t:s0:c1,c2"]);
        assert_eq!(of_mount("tmpfs", &data, ""), data);
        assert_eq!(of_mount("proc", &[], label), Vec::<String>::new());
        let linux =
            |label: &str| wharf_oci::runtime_spec::Linux { mount_label: label.into(), ..Default::default() };
        let images = |label: &str| of_images(&Spec { linux: Some(linux(label)), ..Spec::default() });
        assert_eq!([images(label), images("u:r:t"), images("")], ["u:r:t:s0", "u:r:t", ""]);
    }
}
