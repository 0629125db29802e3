//! Finds the program to execute, in the container's root and with its PATH.

use super::staged;
use crate::error::{Error, Stage};
use rustix::fs::{Access, FileType};
use std::ffi::CString;
use std::io;
use wharf_oci::runtime_spec::Process;

/// A program ready for execve(2).
pub struct Program {
    /// Absolute path or path relative to the working directory.
    pub path: CString,
    /// Arguments, the name first.
    pub args: Vec<CString>,
    /// `NAME=value`.
    pub env: Vec<CString>,
}

/// Finds the program as execvp(3) does, in the words Docker's clients look for in errors.
pub fn find(process: &Process) -> Result<Program, Error> {
    let name = process.args.first().filter(|a| !a.is_empty());
    let name = name.ok_or_else(|| Error::setup("no command specified: the process has no arguments"))?;
    let path = if name.contains('/') {
        check(name).map_err(|e| refused(&process.args, &e))?;
        name.clone()
    } else {
        search(name, &process.env)?
    };
    let text = |s: &str| CString::new(s).map_err(|_| Error::setup(format!("{s:?} contains a NUL byte")));
    let list = |l: &[String]| l.iter().map(|s| text(s)).collect::<Result<Vec<_>, _>>();
    Ok(Program { path: text(&path)?, args: list(&process.args)?, env: list(&process.env)? })
}

/// Bytes of a program's name in a message: what follows it matters more.
const SHOWN: usize = 256;

fn shown(name: &str) -> String {
    match name.char_indices().find(|(at, _)| *at >= SHOWN) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

fn search(name: &str, env: &[String]) -> Result<String, Error> {
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("");
    let mut denied = false;
    for directory in path.split(':').filter(|d| !d.is_empty()) {
        let candidate = format!("{}/{name}", directory.trim_end_matches('/'));
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) => denied |= e.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let name = shown(name);
    if denied {
        return Err(staged(Stage::NotExecutable, format!("exec: {name:?}: permission denied")));
    }
    Err(staged(Stage::NotFound, format!("exec: {name:?}: executable file not found in $PATH")))
}

fn check(path: &str) -> io::Result<()> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(io::Error::from_raw_os_error(21)); // EISDIR
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(13)); // EACCES, also for root
    }
    Ok(rustix::fs::access(path, Access::EXEC_OK)?)
}

/// The error for a program that the kernel refused.
pub fn refused(args: &[String], error: &io::Error) -> Error {
    let name = shown(args.first().map(String::as_str).unwrap_or_default());
    match error.raw_os_error() {
        Some(2) => staged(Stage::NotFound, format!("exec: {name:?}: stat {name}: no such file or directory")),
        Some(13) => staged(Stage::NotExecutable, format!("exec: {name:?}: permission denied")),
        Some(21) => staged(Stage::NotExecutable, format!("exec: {name:?}: is a directory")),
        Some(8) => staged(Stage::NotExecutable, format!("exec {name}: exec format error")),
        _ => staged(Stage::NotExecutable, format!("exec {name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str], path: &str) -> Process {
        Process {
            args: args.iter().map(ToString::to_string).collect(),
            env: vec![format!("PATH={path}")],
            ..Process::default()
        }
    }

    #[test]
    fn errors_have_dockers_words() {
        let error = find(&process(&["no-such-program"], "/bin:/usr/bin")).err().unwrap();
        assert_eq!(error.stage, Stage::NotFound);
        assert_eq!(error.message, "exec: \"no-such-program\": executable file not found in $PATH");
        let error = find(&process(&["/nowhere/x"], "")).err().unwrap();
        assert_eq!(error.message, "exec: \"/nowhere/x\": stat /nowhere/x: no such file or directory");
        let error = find(&process(&["/etc"], "")).err().unwrap();
        assert_eq!(
            (error.stage, error.message.as_str()),
            (Stage::NotExecutable, "exec: \"/etc\": is a directory")
        );
        let error = find(&process(&["/etc/passwd"], "")).err().unwrap();
        assert_eq!(error.message, "exec: \"/etc/passwd\": permission denied");
        assert!(find(&process(&[], "")).is_err());
    }

    #[test]
    fn programs_are_found_in_path() {
        let program = find(&process(&["sh", "-c"], "/nowhere:/bin/")).unwrap();
        assert_eq!(program.path.to_str().unwrap(), "/bin/sh");
        assert_eq!(program.args.len(), 2);
    }
}
