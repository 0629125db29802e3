//! Programs that enter containers run from a read-only view of the binary, and nobody may trace them.

use crate::error::{Doing, Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use wharf_sys::mount::{Change, attr, set_attributes};
use wharf_sys::process;

/// Tells the program that it runs from such a view.
const SEALED: &str = "WHARF_SEALED";

/// Returns in a program that runs from a read-only view of its file and is protected from being read or traced. For
/// that it executes itself again, with `env` as the environment. A container that gets hold of `/proc/PID/exe` of one of
/// our processes cannot write to the binary on the host (CVE-2019-5736). Of `wharf oci` on x86-64 that has happened
/// before the C library (`crates/sys/src/entry.rs`), where the kernel has what it takes.
pub(crate) fn ensure(env: &[CString]) -> Result<()> {
    if std::env::var_os(SEALED).is_none() {
        return Err(reexec(env));
    }
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .doing("protect the process")
}

/// The environment of this process.
pub(crate) fn environment() -> Vec<CString> {
    let pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(pair).collect()
}

fn reexec(env: &[CString]) -> Error {
    let result = sealed_program().doing("open our own program read-only").map(|program| {
        let args: Vec<CString> =
            std::env::args_os().filter_map(|a| CString::new(a.as_bytes()).ok()).collect();
        let seal = CString::new(format!("{SEALED}=1")).unwrap_or_default();
        process::exec_fd(program.as_fd(), &args, &[env, &[seal]].concat())
    });
    match result {
        Ok(error) => Error::setup(format!("execute our own program: {error}")),
        Err(e) => e,
    }
}

/// The file behind `/proc/self/exe` on a read-only mount of its own, or a sealed copy where the kernel
/// (before 5.12) cannot do that.
fn sealed_program() -> std::io::Result<OwnedFd> {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, "/proc/self/exe", flags)?;
    match set_attributes(mount.as_fd(), Change { set: attr::RDONLY, ..Change::default() }, None) {
        Ok(()) => Ok(mount),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => sealed_copy(),
        Err(e) => Err(e),
    }
}

fn sealed_copy() -> std::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let fd = memfd_create("wharf", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut copy = std::fs::File::from(fd);
    std::io::copy(&mut std::fs::File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy.into())
}
